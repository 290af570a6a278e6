"""The writer of progress reports: it never blocks a task function, and writes no more than a screen can show."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from pymongo.errors import PyMongoError

from gql_api.outage import is_outage
from gql_api.record import writes
from gql_api.record.model import Progress
from gql_api.record.writes import Filter
from gql_api.settings import Settings
from gql_api.worker.backend.reports.writer_thread import WriterThread
from gql_api.worker.store.connections import connections_for
from gql_api.worker.store.tasks import Store

logger = logging.getLogger(__name__)

_OUTAGE_SECONDS = 1.0


@dataclass(slots=True)
class _Reports:
    """The latest report of a running task; ``due`` is the earliest time for its write.

    ``announced`` is the revision of the last write, which MongoDB may lose with the server that took it. ``failed``
    means that a report could not be stored, which is logged once.
    """

    latest: Progress
    fence: Filter | None = None
    unwritten: bool = True
    due: float = 0.0
    announced: int = 0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A report that has to be written, after a revision that earlier reports may have announced."""

    task_id: str
    progress: Progress
    announced: int
    fence: Filter | None


class ProgressWriter:
    """Writes the latest report of each running task, at most once per interval, from one thread per process.

    Reports that are overtaken within the interval are never written. The latest report always is: here when it is due,
    or with the end of the attempt, which collects it by :meth:`take`.

    Args:
        write: writes and announces a report, and returns the new revision; None if the record did not take it.
        interval: the shortest time between two writes of a task, in seconds.
    """

    def __init__(self, write: Callable[[Report], int | None], interval: float) -> None:
        self._write = write
        self._interval = interval
        self._tasks: dict[str, _Reports] = {}
        self._thread = WriterThread("progress", self._delay, self._write_next, self._clear)

    def report(self, task_id: str, progress: Progress, fence: Filter | None = None) -> None:
        """Accept a report. It is written as soon as the interval allows, if the fence still holds by then."""
        with self._thread.lock:
            reports = self._tasks.get(task_id)
            if reports is None:
                self._tasks[task_id] = _Reports(progress, fence)
            else:
                reports.latest, reports.fence, reports.unwritten = progress, fence, True
            self._thread.wake()

    def announced(self, task_id: str) -> int:
        """Return the revision of the last report of a running task that was written; 0 if none was."""
        with self._thread.lock:
            reports = self._tasks.get(task_id)
        return 0 if reports is None else reports.announced

    def take(self, task_id: str) -> tuple[Progress | None, int]:
        """End the reports of an attempt, and return the latest whether or not it was written, and what was announced.

        A write that is under way at this moment may still fail against the final state, which therefore carries the
        latest report too.
        """
        with self._thread.lock:
            reports = self._tasks.pop(task_id, None)
        return (None, 0) if reports is None else (reports.latest, reports.announced)

    def _delay(self) -> float | None:
        due = self._first_due()
        return None if due is None else due[0] - time.monotonic()

    def _first_due(self) -> tuple[float, str] | None:
        return min(
            ((reports.due, task_id) for task_id, reports in self._tasks.items() if reports.unwritten), default=None
        )

    def _write_next(self) -> None:
        with self._thread.lock:
            due = self._first_due()
            if due is None or due[0] > (now := time.monotonic()):
                # An attempt that has ended in the meantime has taken its report along.
                return
            task_id = due[1]
            reports = self._tasks[task_id]
            reports.unwritten, reports.due = False, now + self._interval
            report = Report(task_id, reports.latest, reports.announced, reports.fence)
        try:
            revision = self._write(report)
        except Exception:
            if not reports.failed:
                reports.failed = True
                logger.exception("Progress of task %s was not stored", task_id)
        else:
            with self._thread.lock:
                reports.announced = revision or reports.announced

    def _clear(self) -> None:
        self._tasks = {}


@functools.cache
def progress_writer_for(settings: Settings) -> ProgressWriter:
    """Return the one writer of this process: report and end of an attempt may come through different backends."""
    store = Store(connections_for(settings))

    def write(report: Report) -> int | None:
        write = writes.progress(report.task_id, report.progress, announced=report.announced, fence=report.fence)
        while True:
            try:
                record = store.change(write, quick=True)
            except PyMongoError as error:
                if not is_outage(error):
                    raise
                time.sleep(_OUTAGE_SECONDS)
            else:
                return None if record is None else record.revision

    return ProgressWriter(write, settings.progress_interval_seconds)
