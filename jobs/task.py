"""The base class of every task function of our Celery app."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import celery

from jobs.holds import fence_of
from jobs.record.details import Progress

if TYPE_CHECKING:
    from jobs.backend import Backend

_MESSAGE_LENGTH = 1000


class Task(celery.Task):
    """An ordinary Celery task that can also say how far it is (with ``bind=True``)."""

    backend: Backend

    def report_progress(self, current: float, total: float | None = None, message: str | None = None) -> None:
        """Store and announce how far this attempt is.

        Returns at once. Reports that follow each other faster than ``PROGRESS_INTERVAL_SECONDS`` are thinned out; the
        last one is always stored. Outside a worker, where no record waits for it, nothing happens.

        Args:
            current: how much is done, in the same unit as ``total``; a fraction is fine.
            total: how much there is to do, when that is known.
            message: a short text for people.

        Raises:
            ValueError: a number is not finite.
        """
        progress = Progress(_finite(current), None if total is None else _finite(total), _text(message))
        request = self.request
        if request.id is None or request.called_directly or request.is_eager:
            return
        self.backend.report_progress(request.id, progress, fence_of(request.id, request))


def _finite(number: float) -> float:
    try:
        if math.isfinite(number):
            return float(number)
    except OverflowError:
        pass
    raise ValueError("progress must be told in finite numbers")


def _text(message: object) -> str | None:
    """Take any object for a message, an exception or a lazy translation, and no more of it than a screen shows."""
    return None if message is None else str(message)[:_MESSAGE_LENGTH]
