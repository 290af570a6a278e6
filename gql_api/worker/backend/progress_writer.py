"""Progress reports on their way to the record: never blocking the task function, never more than a screen can use."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pymongo.errors import PyMongoError

from gql_api.outage import is_outage
from gql_api.record import writes
from gql_api.record.model import Progress
from gql_api.record.writes import Filter
from gql_api.settings import Settings
from gql_api.worker.store.connections import connections_for
from gql_api.worker.store.tasks import Store

logger = logging.getLogger(__name__)

_IDLE_SECONDS = 60.0
_OUTAGE_SECONDS = 1.0


@dataclass(slots=True)
class _Reports:
    """The reports of one running task: the latest, and when it may be written."""

    latest: Progress
    fence: Filter | None = None
    unwritten: bool = True
    due: float = 0.0


class ProgressWriter:
    """Writes the latest report of each running task, at most once per interval, from one thread a process.

    A report that is overtaken within the interval is never written. The latest is: here when its turn comes, or with
    the end of the attempt, which collects it by :meth:`take`.
    """

    def __init__(self, write: Callable[[str, Progress, Filter | None], None], interval: float) -> None:
        self._write = write
        self._interval = interval
        self._tasks: dict[str, _Reports] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._forget_parent)

    def report(self, task_id: str, progress: Progress, fence: Filter | None = None) -> None:
        """Note a report; it is written as soon as the interval allows, if the fence lets it by then."""
        with self._changed:
            reports = self._tasks.get(task_id)
            if reports is None:
                self._tasks[task_id] = _Reports(progress, fence)
            else:
                reports.latest, reports.fence, reports.unwritten = progress, fence, True
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
                self._thread.start()
            self._changed.notify()

    def take(self, task_id: str) -> Progress | None:
        """End the reports of an attempt, and return the latest whether or not it was written.

        A write that is under way at this moment may still fail against the final state, so the latest goes with that.
        """
        with self._changed:
            reports = self._tasks.pop(task_id, None)
        return None if reports is None else reports.latest

    def _run(self) -> None:
        while (turn := self._next()) is not None:
            task_id, progress, fence = turn
            try:
                self._write(task_id, progress, fence)
            except Exception:
                logger.exception("Progress of task %s was not stored", task_id)

    def _next(self) -> tuple[str, Progress, Filter | None] | None:
        """Wait for the next report to write; None when there was nothing to do for a while, which ends the thread."""
        idle_since = time.monotonic()
        with self._changed:
            while True:
                now = time.monotonic()
                waiting = [(reports.due, task_id) for task_id, reports in self._tasks.items() if reports.unwritten]
                if waiting:
                    due, task_id = min(waiting)
                    if due <= now:
                        reports = self._tasks[task_id]
                        reports.unwritten, reports.due = False, now + self._interval
                        return task_id, reports.latest, reports.fence
                    self._changed.wait(due - now)
                elif now - idle_since > _IDLE_SECONDS:
                    # All is written: what a running attempt reported, and attempts that had no outcome (Ignore).
                    self._tasks.clear()
                    self._thread = None
                    return None
                else:
                    self._changed.wait(_IDLE_SECONDS)

    def _forget_parent(self) -> None:
        # The parent's thread and the holder of its lock do not exist in a forked child.
        self._tasks = {}
        self._changed = threading.Condition()
        self._thread = None


@functools.cache
def progress_writer_for(settings: Settings) -> ProgressWriter:
    """One writer a process, for the report and the end of an attempt may come through different backends."""
    store = Store(connections_for(settings))

    def write(task_id: str, progress: Progress, fence: Filter | None) -> None:
        while True:
            try:
                store.change(writes.progress(task_id, progress, fence=fence), quick=True)
            except PyMongoError as error:
                if not is_outage(error):
                    raise
                time.sleep(_OUTAGE_SECONDS)
            else:
                return

    return ProgressWriter(write, settings.progress_interval_seconds)
