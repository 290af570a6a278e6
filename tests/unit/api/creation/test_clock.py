from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from gql_api.api.creation.clock import Clock

_START = datetime(2026, 1, 1, 12, 0, 0, 123_000, tzinfo=UTC)


class _World:
    """A MongoDB whose time is known, and which takes some time to answer."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.takes = 0.0
        self.reads = 0
        self.step = timedelta()

    async def read(self) -> datetime:
        """Return the time at which the read arrives, at its beginning."""
        self.reads += 1
        now = self.now
        self.passed += self.takes
        return now

    @property
    def now(self) -> datetime:
        """The time of MongoDB."""
        return _START + self.step + timedelta(milliseconds=int(1000 * self.passed))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> _World:
    """A world whose time the test moves."""
    world = _World()
    monkeypatch.setattr(time, "monotonic", lambda: 7.0 + world.passed)
    return world


async def test_the_time_is_read_once_a_second(world: _World) -> None:
    """Between two reads it goes on, in the milliseconds that MongoDB stores."""
    clock = Clock(world.read)
    for seconds in (0.0, 0.0104, 0.4, 0.5):
        world.passed += seconds
        assert abs(await clock.now() - world.now) <= timedelta(milliseconds=1)
        assert (await clock.now()).microsecond % 1000 == 0
    assert world.reads == 1
    world.step = timedelta(hours=1)  # MongoDB's clock is set
    world.passed += 0.2
    assert await clock.now() == world.now
    assert world.reads == 2


async def test_a_read_makes_no_time_of_the_future(world: _World) -> None:
    """The time of a record is never later than its write."""
    world.takes = 0.3
    clock = Clock(world.read)
    for _ in range(5):
        now = await clock.now()
        assert world.now - timedelta(milliseconds=301) <= now <= world.now
        world.passed += 0.15


async def test_a_slow_read_is_used_once(world: _World) -> None:
    """Its answer says too little about the time when it arrives."""
    world.takes = 0.6
    clock = Clock(world.read)
    await clock.now()
    await clock.now()
    assert world.reads == 2
