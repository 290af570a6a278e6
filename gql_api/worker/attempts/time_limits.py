"""Time limits are for the function: not for waiting to claim a task, nor for telling how it ended.

A soft limit is a signal, let in while the function runs. A hard limit is kept by the worker's main process, which sees
in memory shared with its children whether the function runs.
"""

from __future__ import annotations

import mmap
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler

# One byte for each process id there can be on Linux. Only the pages that are touched take memory.
_MAX_PIDS = 1 << 22
_functions = mmap.mmap(-1, _MAX_PIDS)
_LOOK_SECONDS = 0.1


def shut() -> None:
    """Drop time limits from here on: no function runs in this process."""
    _functions[os.getpid()] = 0
    _change(soft_timeout_sighandler, signal.SIG_IGN)


def let_in() -> None:
    """Let time limits end what runs from here on: a function."""
    _functions[os.getpid()] = 1
    _change(signal.SIG_IGN, soft_timeout_sighandler)


def _change(current: object, new: signal.Handlers | object) -> None:
    """Change the handler of a prefork child; nowhere else is there one, nor a soft limit.

    A blocked signal would stay pending and hit the next task; an ignored one is gone.
    """
    if SIG_SOFT_TIMEOUT is None or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(SIG_SOFT_TIMEOUT) is current:
        signal.signal(SIG_SOFT_TIMEOUT, new)  # type: ignore[arg-type] # billiard's handler has no types


@dataclass
class _Watched:
    end: Callable[[int, float], None]
    seconds: float
    since: float | None = None


class HardLimits:
    """Ends the processes whose functions have run too long.

    The pool would do that too, but from the moment it took the task until it hears of its end, however long MongoDB
    keeps a function that has returned from telling it.
    """

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def accepted(self, pid: int, seconds: float | None, end: Callable[[int, float], None]) -> None:
        """Give the function that a process runs next so long, from its beginning; the one before is over."""
        with self._lock:
            self._watched.pop(pid, None)
            if seconds is None:
                return
            self._watched[pid] = _Watched(end, seconds)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="time limits", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._lock:
                late = [(pid, watched) for pid, watched in self._watched.items() if _is_late(pid, watched)]
                for pid, _ in late:
                    del self._watched[pid]
            for pid, watched in late:
                watched.end(pid, watched.seconds)


def runs_function(pid: int) -> bool:
    """Whether a function runs in a process of the pool; one that has returned is not too late."""
    return bool(_functions[pid])


def _is_late(pid: int, watched: _Watched) -> bool:
    if not runs_function(pid):
        watched.since = None
        return False
    watched.since = watched.since or time.monotonic()
    return time.monotonic() - watched.since > watched.seconds


hard_limits = HardLimits()
