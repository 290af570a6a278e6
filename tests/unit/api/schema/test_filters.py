"""The reading of a filter in memory."""

from __future__ import annotations

from typing import Any

from gql_api.query.compile import compile_filter
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
from gql_api.record import fields
from gql_api.record.reads import TaskRecord


class _Counted(int):
    """A number that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        _Counted.compared += 1
        return super().__eq__(other)

    __hash__ = int.__hash__


def test_many_ways_to_the_same_value_are_gone_once() -> None:
    """In an array ``0`` is an index and may be a key of its elements: the ways double with each array in another."""
    metadata: Any = _Counted(1)
    for _ in range(15):
        metadata = [{"0": metadata}]
    path = ".".join(["a", *["0"] * 22])
    document = {fields.ID: "t", fields.REVISION: 1, fields.STATUS: "QUEUED", fields.METADATA: {"a": metadata}}
    compiled = compile_filter(TaskFilter(metadata=[MetadataCondition(path, {Operator.NE: 2})]))
    assert compiled.matches(TaskRecord(document))
    assert _Counted.compared == 1
