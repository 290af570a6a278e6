"""Random records of tasks for statistics, and their statistics counted in Python, one task after the other."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from gql_api.query.statistics import StatisticsQuery
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import Document
from gql_api.record.statistics.histogram import Bin, Histogram
from gql_api.record.statistics.slots import SlotCounts

BEGAN = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
"""The time from which on the tasks are created."""
HOURS = 3
"""For so long they are created."""

Answer: TypeAlias = dict[tuple[datetime, Any], tuple[dict[str, int], Mapping[int, Bin], Mapping[int, Bin]]]


def random_task(number: int, chance: random.Random) -> Document:
    """Return the record of a task with a random life: retried, lost, revoked while it waited, or not ended yet."""
    at = BEGAN + timedelta(milliseconds=chance.randrange(HOURS * 3_600_000))
    document: Document = {
        f.ID: f"t{number}",
        f.REVISION: 1,
        f.NAME: chance.choice(["add", "mul", "report"]),
        f.QUEUE: chance.choice(["celery", "slow"]),
        f.METADATA: {"n": number},
        f.CREATED_AT: at,
        f.HISTORY: [],
    }
    if owner := chance.choice([None, "alice", "bob"]):
        document |= {f.OWNER: owner, f.TENANT: "acme"}
    life = chance.choice(["Q", "QS", "QSE", "QSE", "QSE", "QSRQSE", "QSRE", "QE", "QSQSE", "QSRSE", "SQSSE"])
    for step in life:
        status = {"Q": Status.QUEUED, "S": Status.STARTED, "R": Status.RETRY}.get(step)
        status = status or chance.choice([Status.SUCCESS, Status.FAILURE, Status.REVOKED])
        document[f.HISTORY].append({f.REVISION: len(document[f.HISTORY]) + 1, f.STATUS: status.value, f.AT: at})
        document |= {f.STATUS: status.value, f.UPDATED_AT: at, f.REVISION: len(document[f.HISTORY])}
        if status is Status.STARTED:
            document |= {f.STARTED_AT: at, f.WORKER: chance.choice(["w1", "w2"])}
        if status.is_final:
            document |= {f.FINISHED_AT: at}
            if status is not Status.SUCCESS:
                document[f.ERROR] = {f.TYPE: chance.choice(["ValueError", "KeyError"]), f.MESSAGE: "no"}
        # The clock of MongoDB may go back when another member becomes primary.
        at += timedelta(milliseconds=int(chance.choice([0, 1, 900, -50, chance.expovariate(1 / 60_000)])))
    return document


def counted(documents: Iterable[Document], query: StatisticsQuery) -> Answer:
    """Return the statistics of some records, each looked at by itself."""
    numbers: dict[Any, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    queued, ran = defaultdict[Any, list[int]](list), defaultdict[Any, list[int]](list)
    for document in documents:
        if (row := _row(document, f.CREATED_AT, query)) is not None and query.counts_creations:
            numbers[row]["CREATED"] += 1
        if (row := _row(document, f.FINISHED_AT, query)) is not None:
            numbers[row][document[f.STATUS]] += 1
            if document[f.HISTORY][-2][f.STATUS] == Status.STARTED:
                waits = [each for each in document[f.HISTORY] if each[f.STATUS] in {Status.QUEUED, Status.RETRY}]
                if waits:
                    queued[row].append(_milliseconds(waits[-1][f.AT], document[f.STARTED_AT]))
                ran[row].append(_milliseconds(document[f.STARTED_AT], document[f.FINISHED_AT]))
    return {
        row: (dict(each), Histogram.of(queued[row]).bins, Histogram.of(ran[row]).bins) for row, each in numbers.items()
    }


def answer(rows: Iterable[SlotCounts]) -> Answer:
    """Return the rows of an answer in the form of :func:`counted`."""
    return {(row.at, row.value): (row.numbers, row.queued.bins, row.ran.bins) for row in rows}


def _row(document: Document, field: str, query: StatisticsQuery) -> tuple[datetime, Any] | None:
    at = document.get(field)
    if at is None or not query.span.since <= at < query.span.until:
        return None
    number = (at - query.span.since) // timedelta(seconds=query.seconds)
    by = "" if query.by is None else query.by.name
    value = {"NAME": document[f.NAME], "QUEUE": document[f.QUEUE]}.get(by)
    if field == f.FINISHED_AT:
        error = document.get(f.ERROR, {}).get(f.TYPE)
        value = {"STATUS": document[f.STATUS], "WORKER": document.get(f.WORKER), "ERROR_TYPE": error}.get(by, value)
    return query.slots.at(number), value


def _milliseconds(begin: datetime, end: datetime) -> int:
    return max(0, (end - begin) // timedelta(milliseconds=1))
