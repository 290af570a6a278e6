"""Coroutines that run beside the requests: shielded calls, and loops that are restarted when they fail."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support import wait_until_async

from gql_api.aio.background import Backoff, background, shielded


async def test_a_call_goes_on_when_nobody_waits_for_it_any_more() -> None:
    """A caller that is cancelled leaves at once; what it asked for comes to its end all the same."""
    begun, let_go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @shielded
    async def work() -> None:
        begun.set()
        await let_go.wait()
        ended.set()

    caller = asyncio.create_task(work())
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not ended.is_set()
    let_go.set()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_caller_that_stays_has_the_outcome() -> None:
    """What the call returns or raises is told as if it had been awaited itself."""

    @shielded
    async def divide(one: int, other: int) -> float:
        return one / other

    assert await divide(1, 2) == 0.5
    with pytest.raises(ZeroDivisionError):
        await divide(1, 0)


def test_the_delay_doubles_to_a_bound() -> None:
    """Up to half of each delay is taken off at random, and no number of failures makes it longer than the longest."""
    backoff = Backoff(first_seconds=0.1, max_seconds=30)
    for failures, longest in [(1, 0.1), (2, 0.2), (5, 1.6), (9, 25.6), (10, 30), (1_000_000, 30)]:
        delays = [backoff.delay(failures) for _ in range(100)]
        assert longest / 2 <= min(delays) < max(delays) <= longest


class _Loop:
    """A loop that fails so many times, and runs from then on."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.runs = 0

    async def run(self) -> None:
        """Fail, or run for ever."""
        self.runs += 1
        if self.runs <= self.failures:
            raise RuntimeError(f"failure {self.runs}")
        await asyncio.Event().wait()

    async def is_running(self) -> bool:
        """Whether it has failed for the last time."""
        return self.runs > self.failures


def _records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    # A thread that an earlier test left may log too.
    return [record for record in caplog.records if record.name == "gql_api.aio.background"]


def _tracebacks(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.exc_text or "" for record in _records(caplog) if record.exc_info is not None]


async def test_a_streak_of_failures_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The first failure has its traceback in the log, and the recovery one line with the count."""
    loop = _Loop(failures=5)

    async def has_recovered() -> bool:
        return "runs again" in caplog.text

    async with background(loop.run, backoff=Backoff(first_seconds=0.001, max_seconds=0.002, healthy_seconds=0.05)):
        await wait_until_async(has_recovered)
        assert loop.runs == 6
    (traceback,) = _tracebacks(caplog)
    assert "failure 1" in traceback
    assert [record.getMessage() for record in _records(caplog)] == [
        "_Loop.run failed and is restarted",
        "_Loop.run runs again, failures before: 5",
    ]


async def test_a_long_streak_is_reported_again(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that goes on failing has a line with the count and the last error, without another traceback."""
    loop = _Loop(failures=3)
    async with background(loop.run, backoff=Backoff(first_seconds=0.001, max_seconds=0.002, report_seconds=0)):
        await wait_until_async(loop.is_running)
    assert len(_tracebacks(caplog)) == 1
    assert _records(caplog)[-1].getMessage() == (
        "_Loop.run has failed 3 times in a row, now with RuntimeError('failure 3')"
    )


async def test_a_healthy_run_ends_the_streak(caplog: pytest.LogCaptureFixture) -> None:
    """The next failure begins with the shortest delay and has its traceback again; other loops are not disturbed."""
    fail, other = asyncio.Event(), _Loop(failures=0)

    async def run() -> None:
        await fail.wait()
        fail.clear()
        raise RuntimeError("once in a while")

    async def has_recovered(times: int) -> bool:
        return caplog.text.count("runs again, failures before: 1") == times

    caplog.set_level(logging.WARNING)
    async with background(run, other.run, backoff=Backoff(first_seconds=0.001, healthy_seconds=0.01)):
        for times in (1, 2):
            fail.set()
            await wait_until_async(lambda times=times: has_recovered(times))  # type: ignore[misc] # mypy cannot infer it
    assert len(_tracebacks(caplog)) == 2
    assert other.runs == 1
