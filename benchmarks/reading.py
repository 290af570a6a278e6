"""What reading costs among a million tasks, over HTTP, on one API: pages, filters, orders, counts, and memory.

    python benchmarks/dataset.py --tasks 1000000 --data-dir .data/million
    python benchmarks/reading.py --data-dir .data/million

The folder is filled first when it is empty. What comes out is the tables of docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from asking import Api, Memory, served
from dataset import DATABASE, Dataset, fill, mongodb_on
from made import CUSTOMERS, customer_of, order_of
from plans import plans_of
from pymongo import MongoClient
from pymongo.database import Database

from jobs.record import fields
from jobs.record.fields import Status

_PAGE = 100
_FAR_PAGE = 10_000
_STRIDE = 500
_TASK = "id name status createdAt finishedAt metadata"
_LIST = f"""query ($first: Int, $after: String, $filter: TaskFilter, $orderBy: TaskOrder) {{
  tasks(first: $first, after: $after, filter: $filter, orderBy: $orderBy) {{
    nodes {{ {_TASK} }} pageInfo {{ endCursor hasNextPage }}
  }}
}}"""
_WALK = "query ($first: Int, $after: String) { tasks(first: $first, after: $after) { pageInfo { endCursor } } }"
_FACET = """query ($by: TaskFacet!, $path: String, $filter: TaskFilter) {
  tasks(first: 1, filter: $filter) { facet(by: $by, metadataPath: $path) { value count } }
}"""
_COUNT = "query ($filter: TaskFilter) { tasks(first: 1, filter: $filter) { totalCount } }"


class Report:
    """Asks the API, and prints the tables."""

    def __init__(self, api: Api, database: Database[dict[str, Any]], tasks: int, rounds: int) -> None:
        self._api = api
        self._database = database
        self._memory = Memory(api.process)
        self._tasks = tasks
        self._rounds = rounds
        self._random = random.Random(6)  # noqa: S311 # which orders are asked for

    def run(self) -> None:
        """Measure all of it."""
        self._api.data(_LIST, first=_PAGE)
        start = self._memory.look()
        with self._memory.watched():
            self._pages()
            self._equalities()
            self._orders()
            self._scans()
            self._counts()
        end = self._memory.look()
        self._table(
            "memory of the API, MiB",
            ("after the first request", "most", "at the end"),
            [(f"{start:.0f}", f"{max(self._memory.samples):.0f}", f"{end:.0f}")],
        )

    def _pages(self) -> None:
        number = min(_FAR_PAGE, self._tasks // _PAGE)
        began = time.monotonic()
        far = self._cursor_after(_PAGE * (number - 1))
        walked = time.monotonic() - began
        times: dict[int, list[float]] = {1: [], number: []}
        for _ in range(self._rounds):
            for page, after in ((1, None), (number, far)):
                milliseconds, answer = self._api.timed_data(_LIST, first=_PAGE, after=after)
                times[page].append(milliseconds)
                if len(answer["tasks"]["nodes"]) != _PAGE:
                    raise SystemExit(f"page {page} has {len(answer['tasks']['nodes'])} tasks")
        medians = {page: statistics.median(values) for page, values in times.items()}
        self._table(
            f"{_PAGE} tasks a page, medians of {self._rounds} in turn, ms",
            ("page 1", f"page {number:,}", "ratio", f"all pages up to there, {_STRIDE} a page, s"),
            [(f"{medians[1]:.1f}", f"{medians[number]:.1f}", f"{medians[number] / medians[1]:.2f}", f"{walked:.0f}")],
        )

    def _cursor_after(self, tasks: int) -> str | None:
        after = None
        while tasks:
            first = min(tasks, _STRIDE)
            after = self._api.data(_WALK, first=first, after=after)["tasks"]["pageInfo"]["endCursor"]
            tasks -= first
        return after

    def _equalities(self) -> None:
        rows = []
        orders = [order_of(number) for number in self._random.sample(range(self._tasks), self._rounds)]
        customers = [customer_of(number) for number in self._random.sample(range(CUSTOMERS), self._rounds)]
        for path, values in (("order", orders), ("customer.id", customers)):
            times, found = [], 0
            for value in values:
                wanted = _metadata(path, eq=value)
                milliseconds, answer = self._api.timed_data(_LIST, first=20, filter=wanted)
                times.append(milliseconds)
                found += len(answer["tasks"]["nodes"])
            hundredths = statistics.quantiles(times, n=100)
            figures = (f"{value:.1f}" for value in (statistics.median(times), hundredths[98], max(times)))
            rows.append((f"`{path}`", *figures, f"{found / len(values):.1f}"))
        self._table(
            f"metadata equal to one of {self._rounds} values, the first 20, ms",
            ("path", "median", "p99", "most", "tasks found"),
            rows,
        )

    def _orders(self) -> None:
        rows = []
        for name in ("CREATED_AT", "UPDATED_AT", "FINISHED_AT"):
            for status in (None, *Status):
                for direction in ("DESC", "ASC"):
                    order = {"field": name, "direction": direction}
                    wanted = None if status is None else {"statuses": [status]}
                    rows.append((name, status or "any", direction, *self._order(order, wanted)))
        self._table(
            "the first 100 and the next 100 of each order, ms",
            ("orderBy", "status", "direction", "first", "next", "index entries for the next", "scans and sorts"),
            rows,
        )

    def _order(self, order: dict[str, str], wanted: dict[str, Any] | None) -> tuple[str, ...]:
        figures, flaws, keys = [], set(), 0
        after = None
        for _ in ("first", "next"):
            asked = {"first": _PAGE, "after": after, "filter": wanted, "orderBy": order}
            found = plans_of(self._database, partial(self._api.data, _LIST, **asked))
            keys = max((plan.keys for plan in found), default=0)
            flaws |= {flaw for plan in found for flaw in plan.flaws} if found else {"no command was seen"}
            timed = [self._api.timed_data(_LIST, **asked) for _ in range(5)]
            figures.append(f"{statistics.median(milliseconds for milliseconds, _ in timed):.1f}")
            page = timed[0][1]["tasks"]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        return (*figures, *["" for _ in range(2 - len(figures))], str(keys), ", ".join(sorted(flaws)) or "none")

    def _scans(self) -> None:
        channel = r"source\.channel"
        every = ["web", "app", "phone"]
        wanted = {
            "`ne` that nothing satisfies": {"metadata": [{"path": channel, "ne": value} for value in every]},
            "`NOT` of what all satisfy": {"NOT": _metadata(channel, **{"in": every})},
            "`exists: false` where all have it": _metadata("order", exists=False),
        }
        rows = []
        for title, filter_ in wanted.items():
            milliseconds, body = self._api.timed(_LIST, first=_PAGE, filter=filter_)
            rows.append((title, f"{milliseconds / 1000:.2f}", _told(body)))
        self._table("what MongoDB has to scan, s", ("filter", "time", "answer"), rows)

    def _counts(self) -> None:
        failed, tier = {"statuses": ["FAILURE"]}, _metadata("customer.tier", eq="enterprise")
        asked: list[tuple[str, str, dict[str, Any]]] = [
            *((f"facet by {by}", _FACET, {"by": by}) for by in ("STATUS", "NAME", "QUEUE", "WORKER")),
            ("facet by `customer.tier`", _FACET, {"by": "METADATA", "path": "customer.tier"}),
            ("facet by `tags`", _FACET, {"by": "METADATA", "path": "tags"}),
            ("facet by `customer.id`", _FACET, {"by": "METADATA", "path": "customer.id"}),
            ("facet by NAME of FAILURE", _FACET, {"by": "NAME", "filter": failed}),
            ("facet by `customer.region` of FAILURE", _FACET, _region(failed)),
            ("totalCount", _COUNT, {}),
            ("totalCount of FAILURE", _COUNT, {"filter": failed}),
            ("totalCount of `customer.tier` equal to enterprise", _COUNT, {"filter": tier}),
            ("queues", "{ queues { name depth oldestQueuedAt } }", {}),
            ("workers", "{ workers { hostname active } }", {}),
        ]
        rows = []
        for title, query, variables in asked:
            timed = [self._api.timed(query, **variables) for _ in range(3)]
            seconds = [milliseconds / 1000 for milliseconds, _ in timed]
            rows.append((title, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}", _told(timed[-1][1])))
        self._table("counts, s", ("of", "median of 3", "most", "answer"), rows)

    def _table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        print(f"\n{title[0].upper()}{title[1:]}:\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows:
            print(f"| {' | '.join(row)} |", flush=True)


def _metadata(path: str, **operators: Any) -> dict[str, Any]:
    return {"metadata": [{"path": path, **operators}]}


def _region(filter_: dict[str, Any]) -> dict[str, Any]:
    return {"by": "METADATA", "path": "customer.region", "filter": filter_}


def _told(body: dict[str, Any]) -> str:
    """What an answer says, in a few words."""
    if "errors" in body:
        error = body["errors"][0]
        return f"{error.get('extensions', {}).get('code')}: {error['message']}"
    found = body["data"].get("tasks", body["data"])
    if "nodes" in found:
        return f"{len(found['nodes'])} tasks"
    if "totalCount" in found:
        return f"{found['totalCount']:,}"
    return f"{len(next(iter(found.values())))} values"


def main() -> None:
    """Fill the folder if need be, start what there is to ask, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="how many are made when the folder is empty")
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    with ExitStack() as stack:
        url = stack.enter_context(mongodb_on(options.data_dir))
        database = stack.enter_context(MongoClient[dict[str, Any]](url))[DATABASE]
        tasks = database[fields.TASKS]
        if tasks.find_one() is None:
            fill(Dataset(url, DATABASE, options.tasks), os.cpu_count() or 1)
        # Those of a folder that was filled before there were as many; the API would make them in the background.
        tasks.create_indexes([*fields.UNIQUE_INDEXES, *fields.INDEXES])
        count = tasks.estimated_document_count()
        api = stack.enter_context(served(url, DATABASE, options.data_dir))
        print(f"{count:,} tasks, {len(tasks.index_information())} indexes, MongoDB with a cache of half a GiB")
        Report(api, database, count, options.rounds).run()


if __name__ == "__main__":
    main()
