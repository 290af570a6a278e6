"""Time limits of task functions: neither the wait for a claim nor the storing of the outcome counts.

The worker's main process enforces both kinds of limits itself; it reads from memory shared with its pool processes
whether the function runs. A soft limit is a signal, which a pool process ignores unless the function runs.

Other pools than prefork cannot end a function, except for gevent, whose own hard limits apply.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler

from gql_api.record.fields import is_internal
from gql_api.registry.workers import LIMITING_POOLS
from gql_api.worker.state.shared_memory import ProcessSlots

if TYPE_CHECKING:
    from celery import Celery

    from gql_api.limits import LimitSettings

logger = logging.getLogger(__name__)

_RUNNING, _NOT_RUNNING = b"\1", b"\0"
_functions = ProcessSlots(1)
_SCAN_SECONDS = 0.1
_SOFT_POOL = "prefork"
_ADVICE = "use the prefork pool, or limits of the libraries that the function calls"


def disable() -> None:
    """Drop time limits from here on: no function runs in this process."""
    _functions.write(os.getpid(), _NOT_RUNNING)
    _change_handler(soft_timeout_sighandler, signal.SIG_IGN)


def enable() -> None:
    """Let time limits end the function that runs from here on."""
    _functions.write(os.getpid(), _RUNNING)
    _change_handler(signal.SIG_IGN, soft_timeout_sighandler)


def _change_handler(current: object, new: signal.Handlers | object) -> None:
    # Only prefork children have a handler and a soft limit.
    if SIG_SOFT_TIMEOUT is None or threading.current_thread() is not threading.main_thread():
        return
    # Not by a signal mask: a blocked signal would stay pending and hit the next task, an ignored one is gone.
    if signal.getsignal(SIG_SOFT_TIMEOUT) is current:
        signal.signal(SIG_SOFT_TIMEOUT, new)  # type: ignore[arg-type] # billiard's handler has no types


class Limit(NamedTuple):
    """A limit of a function: when it has run so many seconds, ``end`` is called with its process and the seconds."""

    seconds: float
    end: Callable[[int, float], None]


@dataclass(eq=False)
class Watched:
    """A task that a pool process has accepted, and the limits that its function has not reached."""

    pid: int
    limits: Sequence[Limit]
    since: float | None = None

    def struck(self) -> list[Limit]:
        """Return the limits that the function has reached, once."""
        if not is_function_running(self.pid):
            self.since = None
            return []
        now = time.monotonic()
        self.since = self.since or now
        ran = now - self.since
        struck = [limit for limit in self.limits if ran > limit.seconds]
        self.limits = [limit for limit in self.limits if ran <= limit.seconds]
        return struck


class FunctionLimits:
    """The limits of the functions that run in pool processes, enforced by one thread.

    The pool would count from the moment it took the task until the outcome is stored, however long MongoDB takes to
    grant the claim, and to store the outcome of a function that has returned. Its signal of a soft limit comes once: a
    function that begins later would have no limit.
    """

    def __init__(self) -> None:
        self._watched: dict[int, Watched] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def accepted(self, pid: int, limits: Sequence[Limit]) -> Watched | None:
        """Limit the next function of a process, from its beginning; the one before has ended."""
        with self._lock:
            self._watched.pop(pid, None)
            if not limits:
                return None
            watched = self._watched[pid] = Watched(pid, limits)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="time limits", daemon=True)
                self._thread.start()
            return watched

    def ended(self, watched: Watched) -> None:
        """Drop the limits of a task, whose process may be gone: another one may get its id."""
        with self._lock:
            if self._watched.get(watched.pid) is watched:
                del self._watched[watched.pid]

    def _run(self) -> None:
        while True:
            time.sleep(_SCAN_SECONDS)
            with self._lock:
                struck = [(pid, limit) for pid, watched in self._watched.items() for limit in watched.struck()]
            for pid, limit in struck:
                try:
                    limit.end(pid, limit.seconds)
                except Exception:  # the others are still to be enforced
                    logger.exception("A time limit of process %d could not be enforced", pid)


def is_function_running(pid: int) -> bool:
    """Return whether a task function runs in a process of the pool."""
    return _functions.read(pid) == _RUNNING


function_limits = FunctionLimits()


class Bounds:
    """The bounds of hard limits that the settings give: those of one process."""

    def __init__(self) -> None:
        self._min = self._default = self._max = 0.0

    def use(self, settings: LimitSettings) -> None:
        """Take the bounds from the settings."""
        self._min = settings.time_limit_min_seconds
        self._default, self._max = settings.time_limit_default_seconds, settings.time_limit_max_seconds

    def of_function(self, seconds: float | None) -> float | None:
        """Return the limit of a task function that has this one by itself or from its worker."""
        seconds = seconds or self._default
        return (min(seconds or self._max, self._max) if self._max else seconds) or None

    def of_message(self, seconds: float) -> float | None:
        """Return the limit of a task whose sender has given this one."""
        return self.of_function(max(seconds, self._min))


bounds = Bounds()


class PoolLimits:
    """The kinds of limits that this worker's pool can enforce; it logs once that others have no effect."""

    def __init__(self) -> None:
        self._pool = _SOFT_POOL
        self._has_warned = False

    def use(self, pool: str, app: Celery, hard: float | None, soft: float | None) -> None:
        """Log which task functions have limits that a pool does not enforce. Defaults of the worker are given."""
        self._pool = pool
        names = [
            task.name
            for task in app.tasks.values()
            if not is_internal(task.name) and self._are_ignored(task.time_limit or hard, task.soft_time_limit or soft)
        ]
        if names:
            logger.warning(
                "Pool %s does not enforce the time limits of %s; %s", pool, ", ".join(sorted(names)), _ADVICE
            )

    def receive(self, name: str, hard: float | None, soft: float | None) -> None:
        """Log, once for all tasks, that a message has limits that the pool does not enforce."""
        if not self._has_warned and self._are_ignored(hard, soft):
            self._has_warned = True
            logger.warning("Pool %s does not enforce the time limit that a task %s has; %s", self._pool, name, _ADVICE)

    def _are_ignored(self, hard: float | None, soft: float | None) -> bool:
        return bool((hard and self._pool not in LIMITING_POOLS) or (soft and self._pool != _SOFT_POOL))


pool_limits = PoolLimits()
