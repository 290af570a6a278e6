"""The cost of reading among a million tasks, over HTTP, on one API: pages, filters, orders, counts, and memory.

    python benchmarks/dataset.py --tasks 1000000 --data-dir .data/million
    python benchmarks/reading.py --data-dir .data/million

An empty folder is filled first. The output is the tables of docs/performance.md.
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
from plans import Plan, plans_of
from pymongo import MongoClient
from pymongo.database import Database

from gql_api.api.schema.pagination import Cursor
from gql_api.query.lists import Order
from gql_api.record import fields
from gql_api.record.fields import Status
from gql_api.record.reads import CODEC, TaskRecord

_PAGE = 100
_FAR_PAGE = 10_000
_STRIDE, _WALKED = 500, 200
_FEW = 30
_DIRECTIONS = ("DESC", "ASC")
_IMPATIENT = 1
_TASK = "id name status createdAt finishedAt metadata"
_LIST = f"""query ($first: Int, $after: String, $filter: TaskFilter, $orderBy: TaskOrder) {{
  tasks(first: $first, after: $after, filter: $filter, orderBy: $orderBy) {{
    nodes {{ {_TASK} }} pageInfo {{ endCursor hasNextPage }}
  }}
}}"""
_FACET = """query ($by: TaskFacet!, $path: String, $filter: TaskFilter) {
  tasks(first: 1, filter: $filter) { facet(by: $by, metadataPath: $path) { value count } }
}"""
_COUNT = "query ($filter: TaskFilter) { tasks(first: 1, filter: $filter) { totalCount } }"


class Report:
    """The report: requests to the API, and tables of their times."""

    def __init__(self, api: Api, impatient: Api, database: Database[dict[str, Any]], tasks: int, rounds: int) -> None:
        self._api = api
        self._impatient = impatient
        self._database = database
        self._memory = Memory(api.process)
        self._tasks = tasks
        self._rounds = rounds
        self._random = random.Random(6)  # noqa: S311 # only the choice of orders

    def run(self) -> None:
        """Measure and print all tables."""
        self._api.data(_LIST, first=_PAGE)
        start = self._memory.sample()
        with self._memory.sampling():
            self._pages()
            self._walk()
            self._equalities()
            self._orders()
            self._scans()
            self._counts()
        end = self._memory.sample()
        self._table(
            "memory of the API, MiB",
            ("after the first request", "most", "at the end"),
            [(f"{start:.0f}", f"{max(self._memory.samples):.0f}", f"{end:.0f}")],
        )

    def _pages(self) -> None:
        number = min(_FAR_PAGE, self._tasks // _PAGE)
        far = self._cursor_after(_PAGE * (number - 1))
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
            ("page 1", f"page {number:,}", "ratio"),
            [(f"{medians[1]:.1f}", f"{medians[number]:.1f}", f"{medians[number] / medians[1]:.2f}")],
        )

    def _cursor_after(self, tasks: int) -> str:
        """Return the cursor that a client has after a number of tasks."""
        order = Order()
        found = self._database[fields.TASKS].find(order.listed()).sort(order.sort())
        return str(Cursor.of(TaskRecord(found.skip(tasks - 1)[0]), order))

    def _walk(self) -> None:
        """Read many large pages one after the other, whose memory the API has to release."""
        after, pages = None, min(_WALKED, self._tasks // _STRIDE)
        began = time.monotonic()
        for _ in range(pages):
            page = self._api.data(_LIST, first=_STRIDE, after=after)["tasks"]["pageInfo"]
            after = page["endCursor"]
        seconds = time.monotonic() - began
        self._table(
            f"{pages} pages of {_STRIDE} one after the other",
            ("s", "tasks/s"),
            [(f"{seconds:.1f}", f"{pages * _STRIDE / seconds:,.0f}")],
        )

    def _equalities(self) -> None:
        rows = []
        orders = [order_of(number) for number in self._random.sample(range(self._tasks), self._rounds)]
        customers = [customer_of(number) for number in self._random.sample(range(CUSTOMERS), self._rounds)]
        asked = {
            "`order`, one task has it": ("order", orders),
            "`customer.id`, ten have it": ("customer.id", customers),
            "`customer.tier`, one in a hundred": ("customer.tier", ["enterprise"] * _FEW),
            "`customer.tier`, four in five": ("customer.tier", ["free"] * _FEW),
        }
        for title, (path, values) in asked.items():
            times, found = [], 0
            for value in values:
                filter_ = _metadata(path, eq=value)
                milliseconds, answer = self._api.timed_data(_LIST, first=20, filter=filter_)
                times.append(milliseconds)
                found += len(answer["tasks"]["nodes"])
            hundredths = statistics.quantiles(times, n=100, method="inclusive")
            figures = (f"{value:.1f}" for value in (statistics.median(times), hundredths[98], max(times)))
            rows.append((title, *figures, f"{found / len(values):.1f}"))
        self._table(
            f"the newest 20 with a value in their metadata, {self._rounds} values, ms",
            ("path", "median", "p99", "most", "tasks on the page"),
            rows,
        )

    def _orders(self) -> None:
        rows = []
        for name in ("CREATED_AT", "UPDATED_AT", "FINISHED_AT"):
            for status in (None, *Status):
                filter_ = None if status is None else {"statuses": [status]}
                orders = [self._order({"field": name, "direction": direction}, filter_) for direction in _DIRECTIONS]
                flaws = sorted({flaw for _, plans in orders for plan in plans for flaw in plan.flaws})
                figures = [figure for figures, _ in orders for figure in figures]
                keys = max(plan.keys for _, plans in orders for plan in plans)
                rows.append((name, status or "any", *figures, str(keys), ", ".join(flaws) or "none"))
        pages = [f"{direction} {page}" for direction in _DIRECTIONS for page in ("first", "next")]
        self._table(
            "the first 100 and the next 100 of each order, medians of 5, ms",
            ("orderBy", "status", *pages, "most index entries read", "scans and sorts"),
            rows,
        )

    def _order(self, order: dict[str, str], filter_: dict[str, Any] | None) -> tuple[list[str], list[Plan]]:
        """Return the times of two pages, and the plans by which they were read."""
        figures, plans = ["", ""], []
        after = None
        for number in range(2):
            asked = {"first": _PAGE, "after": after, "filter": filter_, "orderBy": order}
            plans += plans_of(self._database, partial(self._api.ask, _LIST, **asked))
            timed = [self._api.timed(_LIST, **asked) for _ in range(5)]
            body = timed[-1][1]
            if "errors" in body:
                figures[number] = _summary(body)
                break
            figures[number] = f"{statistics.median(milliseconds for milliseconds, _ in timed):.1f}"
            page = body["data"]["tasks"]["pageInfo"]
            after = page["endCursor"]
            if not page["hasNextPage"]:
                break
        return figures, plans

    def _scans(self) -> None:
        channel = r"source\.channel"
        every = ["web", "app", "phone"]
        filters = {
            "`ne` that nothing satisfies": {"metadata": [{"path": channel, "ne": value} for value in every]},
            "`NOT` of what all satisfy": {"NOT": _metadata(channel, **{"in": every})},
            "`exists: false` where all have it": _metadata("order", exists=False),
        }
        rows = []
        for title, filter_ in filters.items():
            row = [title]
            for api in (self._api, self._impatient):
                milliseconds, body = api.timed(_LIST, first=_PAGE, filter=filter_)
                row += [f"{milliseconds / 1000:.2f}", _summary(body)]
            rows.append(row)
        head = ("filter", "time", "answer", f"with QUERY_TIMEOUT_SECONDS={_IMPATIENT}", "answer")
        self._table("what MongoDB has to scan, s", head, rows)

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
            rows.append((title, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}", _summary(timed[-1][1])))
        self._table("counts, s", ("of", "median of 3", "most", "answer"), rows)

    def _table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        print(f"\n{title[0].upper()}{title[1:]}:\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows:
            print(f"| {' | '.join(row)} |", flush=True)


def _metadata(path: str, **operators: Any) -> dict[str, Any]:
    return {"metadata": [{"path": path, **operators}]}


def _region(filter_: dict[str, Any]) -> dict[str, Any]:
    return {"by": "METADATA", "path": "customer.region", "filter": filter_}


def _summary(body: dict[str, Any]) -> str:
    """Return a few words on an answer."""
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
    """Fill an empty folder, start the servers, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="the number of tasks for an empty folder")
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    with ExitStack() as stack:
        url = stack.enter_context(mongodb_on(options.data_dir))
        database = stack.enter_context(MongoClient[dict[str, Any]](url)).get_database(DATABASE, CODEC)
        tasks = database[fields.TASKS]
        if tasks.find_one() is None:
            fill(Dataset(url, DATABASE, options.tasks), os.cpu_count() or 1)
        # A folder filled by an older version may lack indexes, which the API would create in the background.
        tasks.create_indexes([*fields.UNIQUE_INDEXES, *fields.INDEXES])
        count = tasks.estimated_document_count()
        api = stack.enter_context(served(url, DATABASE, options.data_dir))
        limit = {"QUERY_TIMEOUT_SECONDS": str(_IMPATIENT)}
        impatient = stack.enter_context(served(url, DATABASE, options.data_dir / "impatient", limit))
        print(f"{count:,} tasks, {len(tasks.index_information())} indexes, MongoDB with a cache of half a GiB")
        Report(api, impatient, database, count, options.rounds).run()


if __name__ == "__main__":
    main()
