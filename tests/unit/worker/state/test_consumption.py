"""When a worker counts as consuming."""

from __future__ import annotations

import pytest

from gql_api.worker.state.consumption import Consumption


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test may change."""
    now = [100.0]
    monkeypatch.setattr("gql_api.worker.state.consumption.time.monotonic", lambda: now[0])
    return now


def _goes_on(consumption: Consumption) -> bool:
    return consumption.is_going_on


def test_the_broker_has_to_answer(clock: list[float]) -> None:
    """A worker consumes from its connection on, as long as answers come."""
    consumption = Consumption()
    assert not _goes_on(consumption)
    consumption.begin(lambda: True)
    assert _goes_on(consumption)
    clock[0] += 14.0
    consumption.answered()
    clock[0] += 14.0
    assert _goes_on(consumption)
    clock[0] += 2.0
    assert not _goes_on(consumption)
    consumption.answered()
    assert _goes_on(consumption)
    consumption.end()
    assert not _goes_on(consumption)


def test_a_full_worker_needs_no_answers(clock: list[float]) -> None:
    """It asks for no messages, until a task ends, whose acknowledgement the broker answers."""
    room = [False]
    consumption = Consumption()
    consumption.begin(lambda: room[0])
    clock[0] += 3600.0
    assert _goes_on(consumption)
    consumption.answered()
    room[0] = True
    assert _goes_on(consumption)
    clock[0] += 16.0
    assert not _goes_on(consumption)
