"""The log lines of the attempts that this worker runs, by the requests that Celery has of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from celery import states

from gql_api.record import logs
from gql_api.record.logs import Entry
from gql_api.worker.backend.reports.log_writer import NO_LINES, LastLines, LogWriter
from gql_api.worker.backend.translation import ENDS_ATTEMPT
from gql_api.worker.state.attempt import attempt_of


class AttemptLogs:
    """Stores the log lines of attempts.

    Args:
        writer: stores the lines of all attempts, in batches.
    """

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer

    def add(self, request: Any, level: int, text: Callable[[], str]) -> None:
        """Store a line of a task soon, while this worker runs the task. ``text`` is called only if there is room.

        See :class:`gql_api.worker.backend.reports.log_writer.LogWriter`.
        """
        attempt = attempt_of(request).number
        if attempt and self._writer.wants(request.id, attempt):
            self._writer.add(request.id, attempt, Entry.of(level, text(), time.monotonic()))

    def store(self, request: Any) -> None:
        """Store the lines of an attempt now: the record refuses them once the attempt does not hold the task."""
        attempt = attempt_of(request).number
        if attempt:
            self._writer.finish(request.id, attempt)

    @contextlib.contextmanager
    def last_lines(self, task_id: str, state: str, request: Any) -> Iterator[LastLines]:
        """Return the lines that a final state stores with itself; store those of a retry at once."""
        claim = None if getattr(request, "id", None) != task_id else attempt_of(request).claim
        if claim is None or state not in ENDS_ATTEMPT:
            yield NO_LINES
        elif state == states.RETRY:
            self.store(request)
            yield NO_LINES
        else:
            with self._writer.ending(task_id, claim.number, logs.counted_in(claim.record.logged)) as last_lines:
                yield last_lines
