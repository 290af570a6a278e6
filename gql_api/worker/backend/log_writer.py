"""Lines of log on their way to MongoDB: never blocking the task function, stored in batches and in order."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from celery.exceptions import SoftTimeLimitExceeded

from gql_api.record.logs import Entry, Limits
from gql_api.settings import Settings
from gql_api.worker.store.connections import connections_for
from gql_api.worker.store.logs import LogStore

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.2
_IDLE_SECONDS = 60.0

Attempt = tuple[str, int]
Write = Callable[[str, int, list[Entry]], bool | None]


@dataclass(slots=True)
class _Log:
    """What one running attempt has logged. ``full`` means that no more of it would be kept."""

    waiting: list[Entry] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0
    full: bool = False
    # Held while a batch is being stored, so that the next one comes after it.
    turn: threading.Lock = field(default_factory=threading.Lock)


class LogWriter:
    """Stores what the running attempts of this process log, from one thread, an interval after the first line.

    What waits is bounded by the limits of a task's log, for more would not be kept: nothing else is dropped, however
    long MongoDB is away.

    Args:
        write: stores lines of an attempt, and tells whether the task's log is full, or None when the task
            is not the attempt's any more; it waits out outages.
        limits: how much a task's log keeps.
        interval: how long lines are gathered, in seconds.
    """

    def __init__(self, write: Write, limits: Limits, interval: float = _INTERVAL_SECONDS) -> None:
        self._write = write
        self._limits = limits
        self._interval = interval
        self._logs: dict[Attempt, _Log] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._forget_parent)

    def wants(self, task_id: str, attempt: int) -> bool:
        """Whether another line of an attempt may be kept."""
        log = self._logs.get((task_id, attempt))
        return log is None or not log.full

    def add(self, task_id: str, attempt: int, entry: Entry) -> None:
        """Note a line; it is stored soon."""
        with self._changed:
            log = self._logs.setdefault((task_id, attempt), _Log())
            if log.full:
                return
            log.waiting.append(entry)
            log.lines += 1
            log.bytes += entry.size
            # The one that is too many makes the note that the rest was left out.
            log.full = log.lines > self._limits.lines or log.bytes > self._limits.bytes
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
                self._thread.start()
            if len(log.waiting) == 1:
                self._changed.notify()

    def finish(self, task_id: str, attempt: int) -> None:
        """Store what an attempt has logged, before its end is told. Costs nothing when that is nothing."""
        log = self._logs.get((task_id, attempt))
        if log is not None:
            self._forget((task_id, attempt))
            self._flush((task_id, attempt), log)

    def _run(self) -> None:
        while self._wait_for_lines():
            time.sleep(self._interval)
            with self._changed:
                unwritten = [(attempt, log) for attempt, log in self._logs.items() if log.waiting]
            for attempt, log in unwritten:
                self._flush(attempt, log)

    def _wait_for_lines(self) -> bool:
        """Wait until there is something to store; False when there was nothing for a while, which ends the thread."""
        with self._changed:
            if self._changed.wait_for(lambda: any(log.waiting for log in self._logs.values()), _IDLE_SECONDS):
                return True
            # All is stored: what quiet attempts logged, and attempts that had no outcome (Ignore).
            self._logs.clear()
            self._thread = None
            return False

    def _flush(self, attempt: Attempt, log: _Log) -> None:
        with log.turn:
            with self._changed:
                entries, log.waiting = log.waiting, []
            if not entries:
                return
            try:
                full = self._write(*attempt, entries)
            except SoftTimeLimitExceeded:
                raise
            except Exception:
                logger.exception("%d lines of log of task %s were not stored", len(entries), attempt[0])
                return
            if full is None:
                self._forget(attempt)
            else:
                log.full = log.full or full

    def _forget(self, attempt: Attempt) -> None:
        with self._changed:
            self._logs.pop(attempt, None)

    def _forget_parent(self) -> None:
        # The parent's thread and the holder of its lock do not exist in a forked child.
        self._logs = {}
        self._changed = threading.Condition()
        self._thread = None


@functools.cache
def log_writer_for(settings: Settings) -> LogWriter:
    """One writer a process, for a line and the end of its attempt may come through different backends."""
    limits = Limits(settings.log_max_lines, settings.log_max_bytes)
    return LogWriter(LogStore(connections_for(settings), limits).write, limits)
