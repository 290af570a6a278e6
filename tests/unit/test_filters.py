"""The reading of a filter in memory."""

from __future__ import annotations

import time
from typing import Any

from jobs.conditions import MAX_CONDITIONS, MetadataCondition, Operator, TaskFilter
from jobs.filters import read
from jobs.record import fields
from jobs.record.reads import TaskRecord

# The event loop is held up for so long at most; it took ten times as long when each way to a value was gone.
_SECONDS = 1.0


def test_many_ways_to_the_same_value_are_gone_once() -> None:
    """In an array ``0`` is an index and may be a key of its elements: the ways double with each array in another."""
    metadata: Any = 1
    for _ in range(15):
        metadata = [{"0": metadata}]
    path = ".".join(["a", *["0"] * 22])
    wanted = [MetadataCondition(path, {Operator.NE: -number}) for number in range(1, MAX_CONDITIONS)]
    document = {fields.ID: "t", fields.REVISION: 1, fields.STATUS: "QUEUED", fields.METADATA: {"a": metadata}}
    readings = read(TaskFilter(metadata=wanted))
    began = time.perf_counter()
    assert readings.holds(TaskRecord(document))
    assert time.perf_counter() - began < _SECONDS
