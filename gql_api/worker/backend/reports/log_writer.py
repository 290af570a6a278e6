"""The writer of log lines: it never blocks a task function, and stores lines in batches and in their order.

The last lines of an attempt are stored with its end, if they are few.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from celery.exceptions import SoftTimeLimitExceeded

from gql_api.record.logs import Entry, Limits, may_be_last
from gql_api.settings import Settings
from gql_api.worker.backend.reports.writer_thread import WriterThread
from gql_api.worker.store.connections import connections_for
from gql_api.worker.store.logs import LogStore

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.2
# Many copies at a time cost little.
_COPY_SECONDS = 1.0

Attempt = tuple[str, int]
Write = Callable[[str, int, list[Entry]], bool | None]
Copy = Callable[[list[str]], None]


@dataclass(slots=True)
class _Log:
    """The log of one running attempt. ``full`` means that the record would not keep another line."""

    waiting: list[Entry] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0
    full: bool = False
    # Held while a batch is being stored, so that the next batch follows it.
    flush_lock: threading.Lock = field(default_factory=threading.Lock)


class LastLines:
    """The lines of an attempt that are to be stored with its end.

    Args:
        entries: the lines.
        store: stores them by themselves.
    """

    def __init__(self, entries: list[Entry], store: Callable[[list[Entry]], None]) -> None:
        self.entries = entries
        self._store = store

    def store_apart(self) -> None:
        """Store the lines by themselves, before the end."""
        entries, self.entries = self.entries, []
        self._store(entries)


NO_LINES = LastLines([], lambda _: None)
"""The lines of an attempt that has none for its end."""


class LogWriter:
    """Stores the log lines of this process's running attempts, from one thread, an interval after the first line.

    The limits of a task's log bound the lines that wait, for the record would not keep more. No other line is dropped,
    however long MongoDB is away.

    Args:
        write: stores lines of an attempt, and returns whether the task's log is full, or None when the attempt does
            not hold the task any more; it waits out outages.
        copy: copies the lines that were stored with the ends of some tasks to the collection of lines.
        limits: how much a task's log keeps.
        interval: how long lines are collected, in seconds.
        copy_interval: how long tasks are collected whose last lines are copied.
    """

    def __init__(
        self,
        write: Write,
        copy: Copy,
        limits: Limits,
        interval: float = _INTERVAL_SECONDS,
        copy_interval: float = _COPY_SECONDS,
    ) -> None:
        self._write = write
        self._copy = copy
        self._limits = limits
        self._interval = interval
        self._logs: dict[Attempt, _Log] = {}
        self._copy_interval = copy_interval
        # The tasks whose last lines are to be copied, and when.
        self._ended: list[str] = []
        self._copy_at = 0.0
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

    @contextlib.contextmanager
    def ending(self, task_id: str, attempt: int, counted: tuple[int, int]) -> Iterator[LastLines]:
        """Return the last lines of an attempt, which the block stores with its end. An error of the block keeps them.

        Lines that are too many or too long for that are stored at once. ``counted`` has the number of lines and of
        their bytes that the record counted when the attempt began.
        """
        key = task_id, attempt
        log = self._logs.get(key)
        if log is None:
            yield NO_LINES
            return
        last = LastLines(self._take(log, counted), functools.partial(self._store_apart, key, log))
        if not last.entries:
            self._flush(key, log)
        try:
            yield last
        except BaseException:
            self._give_back(log, last.entries)
            raise
        self._forget(key)
        if last.entries:
            with self._thread.lock:
                if not self._ended:
                    self._copy_at = time.monotonic() + self._copy_interval
                    self._thread.wake()
                self._ended.append(task_id)

    def finish(self, task_id: str, attempt: int) -> None:
        """Store the lines of an attempt before its end is stored. Costs nothing when there are none."""
        log = self._logs.get((task_id, attempt))
        if log is not None:
            self._forget((task_id, attempt))
            self._flush((task_id, attempt), log)

    def _delay(self) -> float | None:
        if any(log.waiting for log in self._logs.values()):
            return 0.0
        return self._copy_at - time.monotonic() if self._ended else None

    def _flush_all(self) -> None:
        with self._thread.lock:
            has_lines = any(log.waiting for log in self._logs.values())
        if has_lines:
            time.sleep(self._interval)
        ended = []
        with self._thread.lock:
            unwritten = [(attempt, log) for attempt, log in self._logs.items() if log.waiting]
            if self._copy_at <= time.monotonic():
                ended, self._ended = self._ended, []
        for attempt, log in unwritten:
            self._flush(attempt, log)
        if ended:
            self._copy(ended)

    def _take(self, log: _Log, counted: tuple[int, int]) -> list[Entry]:
        lines, size = counted
        # Held while an earlier batch is being stored: what it answers counts.
        with log.flush_lock, self._thread.lock:
            has_room = lines + log.lines <= self._limits.lines and size + log.bytes <= self._limits.bytes
            if log.full or not has_room or not may_be_last(log.waiting):
                return []
            entries, log.waiting = log.waiting, []
            # A later line, of a thread that the function has left behind, must not be stored before these.
            log.full = bool(entries)
        return entries

    def _give_back(self, log: _Log, entries: list[Entry]) -> None:
        if not entries:
            return
        with self._thread.lock:
            log.full = False
            log.waiting[:0] = entries
            self._thread.wake()

    def _store_apart(self, attempt: Attempt, log: _Log, entries: list[Entry]) -> None:
        self._give_back(log, entries)
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
        self._logs, self._ended = {}, []


@functools.cache
def log_writer_for(settings: Settings) -> LogWriter:
    """Return the one writer of this process: line and end of an attempt may come through different backends."""
    limits = Limits(settings.log_max_lines, settings.log_max_bytes)
    store = LogStore(connections_for(settings), limits)
    return LogWriter(store.write, store.copy_last_lines, limits)
