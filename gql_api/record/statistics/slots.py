"""The answer of statistics: cells added up over slots of time that begin at a given moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.reads import Document
from gql_api.record.statistics import cells
from gql_api.record.statistics.cells import Pipeline
from gql_api.record.statistics.histogram import Bin, Histogram

_SLOT = "slot"
_CELLS = "cells"
_IN_CELL = (cells.KIND, cells.BIN, cells.COUNT, cells.SHORTEST, cells.LONGEST)


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots of equal length, one after the other."""

    since: datetime
    seconds: int

    def at(self, number: int) -> datetime:
        """Return the beginning of a slot."""
        return self.since + timedelta(seconds=number * self.seconds)

    def expression(self) -> dict[str, Any]:
        """Return the expression for the number of the slot that a cell belongs to."""
        elapsed = {"$subtract": [f"${cells.AT}", self.since]}
        return {"$toLong": {"$floor": {"$divide": [elapsed, self.seconds * 1000]}}}


@dataclass(frozen=True, slots=True)
class SlotCounts:
    """The tasks of one slot that have one value.

    Attributes:
        at: the beginning of the slot.
        value: the value; None for tasks without one, and if tasks are not counted by value.
        numbers: the number of created tasks, and of ended ones by their status, by the kinds of cells.
        queued: how long the ended tasks had waited.
        ran: how long they had run.
    """

    at: datetime
    value: Any = None
    numbers: dict[str, int] = field(default_factory=dict)
    queued: Histogram = field(default_factory=Histogram)
    ran: Histogram = field(default_factory=Histogram)


def by_slot(slots: Slots, value: str | None, limit: int) -> Pipeline:
    """Return the stages that add up cells by slot and by the value of a field, a row for each of both, in their order.

    Args:
        slots: the slots.
        value: the name of the field in the cells; None to add up all.
        limit: the number of rows at most.
    """
    key = {_SLOT: slots.expression(), cells.VALUE: None if value is None else {"$ifNull": [f"${value}", None]}}
    row = {name: f"${f.ID}.{name}" for name in (_SLOT, cells.VALUE)}
    cell = {name: f"${f.ID}.{name}" for name in _IN_CELL[:2]} | {name: f"${name}" for name in _IN_CELL[2:]}
    return [
        cells.merged({**key, **{name: f"${name}" for name in _IN_CELL[:2]}}),
        {"$group": {f.ID: row, _CELLS: {"$push": cell}}},
        {"$sort": {f"{f.ID}.{_SLOT}": 1, f"{f.ID}.{cells.VALUE}": 1}},
        {"$limit": limit},
    ]


def counts_from(slots: Slots, row: Document) -> SlotCounts:
    """Read one row."""
    counts = SlotCounts(slots.at(row[f.ID][_SLOT]), values.load_finite(row[f.ID].get(cells.VALUE)))
    times = {cells.QUEUED: counts.queued, cells.RAN: counts.ran}
    for cell in row[_CELLS]:
        kind, count = cell[cells.KIND], cell[cells.COUNT]
        if kind in times:
            times[kind].add(cell[cells.BIN], Bin(count, cell[cells.SHORTEST], cell[cells.LONGEST]))
        else:
            counts.numbers[kind] = count
    return counts


def number_of(rows: Iterable[SlotCounts]) -> int:
    """Return the number of creations, or that of ends, whichever is larger."""
    created = ended = 0
    for row in rows:
        created += row.numbers.get(cells.CREATED, 0)
        ended += sum(row.numbers.values()) - row.numbers.get(cells.CREATED, 0)
    return max(created, ended)
