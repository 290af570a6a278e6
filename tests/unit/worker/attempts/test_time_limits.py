"""The limits of functions, which one thread of a worker's main process enforces."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from support import wait_until

from gql_api.worker.attempts import time_limits
from gql_api.worker.attempts.time_limits import FunctionLimits, Limit

# No processes: only their slots in the shared memory are used.
_PID, _OTHER = 1, 2


@pytest.fixture(autouse=True)
def _nothing_runs() -> Iterator[None]:
    yield
    for pid in (_PID, _OTHER):
        _runs(pid, is_running=False)


def _runs(pid: int, *, is_running: bool = True) -> None:
    time_limits._functions.write(pid, b"\1" if is_running else b"\0")  # noqa: SLF001 - as that process does


def test_limits_count_from_the_beginning_of_the_function() -> None:
    """Neither the time before counts, nor that of an earlier function; each limit strikes once."""
    limits, struck, others = FunctionLimits(), dict[float, float](), list[int]()

    def end(pid: int, seconds: float) -> None:
        assert pid == _PID
        assert seconds not in struck
        struck[seconds] = time.monotonic()

    limits.accepted(_PID, [Limit(0.3, end), Limit(0.6, end)])
    # That of another process strikes first, although both were accepted at once.
    limits.accepted(_OTHER, [Limit(0.4, lambda pid, _: others.append(pid))])
    _runs(_OTHER)
    wait_until(lambda: others)
    assert not struck
    began = time.monotonic()
    _runs(_PID)
    wait_until(lambda: 0.6 in struck)
    assert struck[0.3] - began > 0.3
    assert struck[0.6] - began > 0.6


def test_a_task_that_has_ended_has_no_limits() -> None:
    """Its process may be gone, and another one may have its id; a task that came later keeps its own limits."""
    limits, struck = FunctionLimits(), list[str]()
    ended = limits.accepted(_PID, [Limit(0.2, lambda *_: struck.append("ended"))])
    assert ended is not None
    limits.ended(ended)
    replaced = limits.accepted(_OTHER, [Limit(0.2, lambda *_: struck.append("replaced"))])
    assert replaced is not None
    limits.accepted(_OTHER, [Limit(0.4, lambda *_: struck.append("later"))])
    limits.ended(replaced)
    _runs(_PID)
    _runs(_OTHER)
    wait_until(lambda: struck)
    assert struck == ["later"]


def test_a_limit_that_cannot_be_enforced_keeps_no_other_from_it(caplog: pytest.LogCaptureFixture) -> None:
    """The hooks of an application run at a soft limit, and may fail."""
    limits, struck = FunctionLimits(), list[str]()

    def fail(*_: object) -> None:
        raise ValueError

    limits.accepted(_PID, [Limit(0.1, fail), Limit(0.4, lambda *_: struck.append("hard"))])
    _runs(_PID)
    wait_until(lambda: struck)
    assert "A time limit of process 1 could not be enforced" in caplog.text
