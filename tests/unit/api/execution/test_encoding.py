"""How answers become JSON."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gql_api.api.execution.encoding import encode


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_are_written_as_python_writes_them(time: datetime) -> None:
    """A time that a plan left to the encoder reads as the one that graphql-core made text of."""
    assert encode({"at": time}) == encode({"at": time.isoformat()})


@pytest.mark.parametrize("value", [2**64, -(2**70), {"deep": [2**80]}], ids=str)
def test_large_integers_are_written_beside_times(value: Any) -> None:
    """What orjson has no room for does not cost an answer its times."""
    now = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    assert json.loads(encode({"value": value, "at": now})) == {"value": value, "at": now.isoformat()}


@pytest.mark.parametrize("size", [10, 1000])
def test_an_encoded_value_takes_no_more_memory_than_it_needs(size: int) -> None:
    """What sockets keep, and what is counted by its length while a client does not read, is no larger than it looks."""
    tracemalloc.start()
    try:
        kept = [encode("x" * size) for _ in range(100)]
        assert tracemalloc.get_traced_memory()[0] < 2 * sum(len(each) + 100 for each in kept)
    finally:
        tracemalloc.stop()
