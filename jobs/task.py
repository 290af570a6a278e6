"""The base class of every task function of our Celery app."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import celery

from jobs.record.details import Progress

if TYPE_CHECKING:
    from jobs.backend import Backend


class Task(celery.Task):
    """An ordinary Celery task that can also say how far it is (with ``bind=True``)."""

    backend: Backend
    # ``ignore_result`` drops the result: that the task failed, or will be retried, is its state.
    store_errors_even_if_ignored = True

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
        if not all(math.isfinite(number) for number in (current, total or 0)):
            raise ValueError("progress must be told in finite numbers")
        request = self.request
        if request.id is None or request.called_directly or request.is_eager:
            return
        self.backend.report_progress(request.id, Progress(float(current), _float(total), message))

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Record the start that Celery leaves out with ``ignore_result``: that drops the result, not the state."""
        super().before_start(task_id, args, kwargs)
        request = self.request
        if (self.ignore_result or request.ignore_result) and not request.is_eager:
            self.backend.store_result(task_id, {"hostname": request.hostname}, "STARTED", request=request)


def _float(number: float | None) -> float | None:
    return None if number is None else float(number)
