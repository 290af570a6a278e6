"""The writer of log lines: it never blocks a task function, and stores lines in batches and in their order."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from celery.exceptions import SoftTimeLimitExceeded

from gql_api.record.logs import Entry, Limits
from gql_api.settings import Settings
from gql_api.worker.backend.writer_thread import WriterThread
from gql_api.worker.store.connections import connections_for
from gql_api.worker.store.logs import LogStore

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.2

Attempt = tuple[str, int]
Write = Callable[[str, int, list[Entry]], bool | None]


@dataclass(slots=True)
class _Log:
    """The log of one running attempt. ``full`` means that the record would not keep another line."""

    waiting: list[Entry] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0
    full: bool = False
    # Held while a batch is being stored, so that the next batch follows it.
    flush_lock: threading.Lock = field(default_factory=threading.Lock)


class LogWriter:
    """Stores the log lines of this process's running attempts, from one thread, an interval after the first line.

    The limits of a task's log bound the lines that wait, for the record would not keep more. No other line is dropped,
    however long MongoDB is away.

    Args:
        write: stores lines of an attempt, and returns whether the task's log is full, or None when the attempt does
            not hold the task any more; it waits out outages.
        limits: how much a task's log keeps.
        interval: how long lines are collected, in seconds.
    """

    def __init__(self, write: Write, limits: Limits, interval: float = _INTERVAL_SECONDS) -> None:
        self._write = write
        self._limits = limits
        self._interval = interval
        self._logs: dict[Attempt, _Log] = {}
        self._thread = WriterThread("logs", self._delay, self._flush_all, self._clear)

    def wants(self, task_id: str, attempt: int) -> bool:
        """Return whether another line of an attempt may be kept."""
        log = self._logs.get((task_id, attempt))
        return log is None or not log.full

    def add(self, task_id: str, attempt: int, entry: Entry) -> None:
        """Accept a line; the thread stores it soon."""
        with self._thread.lock:
            log = self._logs.setdefault((task_id, attempt), _Log())
            if log.full:
                return
            log.waiting.append(entry)
            log.lines += 1
            log.bytes += entry.size
            # The first line above a limit becomes the note that the rest was left out.
            log.full = log.lines > self._limits.lines or log.bytes > self._limits.bytes
            self._thread.wake()

    def finish(self, task_id: str, attempt: int) -> None:
        """Store the lines of an attempt before its end is stored. Costs nothing when there are none."""
        log = self._logs.get((task_id, attempt))
        if log is not None:
            self._forget((task_id, attempt))
            self._flush((task_id, attempt), log)

    def _delay(self) -> float | None:
        return 0.0 if any(log.waiting for log in self._logs.values()) else None

    def _flush_all(self) -> None:
        time.sleep(self._interval)
        with self._thread.lock:
            unwritten = [(attempt, log) for attempt, log in self._logs.items() if log.waiting]
        for attempt, log in unwritten:
            self._flush(attempt, log)

    def _flush(self, attempt: Attempt, log: _Log) -> None:
        with log.flush_lock:
            with self._thread.lock:
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
        with self._thread.lock:
            self._logs.pop(attempt, None)

    def _clear(self) -> None:
        self._logs = {}


@functools.cache
def log_writer_for(settings: Settings) -> LogWriter:
    """Return the one writer of this process: line and end of an attempt may come through different backends."""
    limits = Limits(settings.log_max_lines, settings.log_max_bytes)
    return LogWriter(LogStore(connections_for(settings), limits).write, limits)
