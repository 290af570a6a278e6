"""Figures that are read from time to time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pymongo.errors import NetworkTimeout

from gql_api.api.quotas.figures import Figures
from gql_api.api.quotas.holders import Holder

_ALICE = Holder("acme", "alice")


class _Source:
    """A source of figures, which a test may hold up, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stored = 7
        self.reads = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error: Exception | None = None

    async def read(self, _holder: Holder) -> int:
        """Return the figure."""
        self.reads += 1
        stored = self.stored
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return stored

    @asynccontextmanager
    async def figures(self, *, waits: bool = True) -> AsyncIterator[Figures]:
        """Open figures that are good for a second, or for five if they are less than half of a quota."""
        figures = Figures(self.read, seconds=1, far_seconds=5, waits=waits, concurrency=1, clock=lambda: self.now)
        yield figures
        await figures.close()


async def test_a_figure_is_read_when_it_is_too_old() -> None:
    """Between two readings it has what this process adds; near the quota it is read more often than far from it."""
    source = _Source()
    async with source.figures() as figures:
        await asyncio.gather(*(figures.refresh(_ALICE, 10) for _ in range(5)))
        figures.add(_ALICE, 2)
        await figures.refresh(_ALICE, 10)
        assert (figures.value(_ALICE), source.reads) == (9, 1)
        source.now, source.stored = 1.0, 3
        await figures.refresh(_ALICE, 100)  # far from it
        assert (figures.value(_ALICE), source.reads) == (9, 1)
        await figures.refresh(_ALICE, 10)
        assert (figures.value(_ALICE), source.reads) == (3, 2)
        source.now = 6.0
        await figures.refresh(_ALICE, 100)
        assert source.reads == 3


async def test_what_is_added_during_a_reading_is_kept() -> None:
    """The reading may have missed it. A figure that may be old makes no call wait."""
    source = _Source()
    async with source.figures(waits=False) as figures:
        await figures.refresh(_ALICE, 10)
        source.now = 2.0
        source.may_end.clear()
        await figures.refresh(_ALICE, 10)
        await asyncio.sleep(0)  # the reading begins
        figures.add(_ALICE, 4)
        source.may_end.set()
        await figures.close()
        assert source.reads == 2
        assert figures.value(_ALICE) == 11


async def test_a_failed_reading_leaves_the_figure() -> None:
    """A quota never stops all creations because MongoDB does not return a figure."""
    source = _Source()
    async with source.figures() as figures:
        await figures.refresh(_ALICE, 10)
        source.now, source.error = 2.0, NetworkTimeout("late")
        await figures.refresh(_ALICE, 10)
        assert (figures.value(_ALICE), source.reads) == (7, 2)


async def test_figures_of_different_holders_are_different() -> None:
    """A principal, its namesake of another tenant, and the tenant itself have figures of their own, within a bound."""
    source = _Source()
    async with source.figures() as figures:
        for number, holder in enumerate([_ALICE, Holder("umbrella", "alice"), Holder(None, "alice"), Holder("acme")]):
            figures.add(holder, number)
            assert figures.value(holder) == number
        for number in range(10_001):
            figures.add(Holder(None, str(number)), 1)
        assert figures.value(Holder("acme")) == 0
        assert figures.value(Holder(None, "10000")) == 1
