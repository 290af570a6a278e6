"""The base class of every task function of our Celery app."""

from __future__ import annotations

import math
import traceback
from typing import TYPE_CHECKING, Any

import celery

from jobs.record.details import Progress

if TYPE_CHECKING:
    from jobs.backend import Backend

_MESSAGE_LENGTH = 1000


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
        progress = Progress(_finite(current), None if total is None else _finite(total), _text(message))
        request = self.request
        if request.id is None or request.called_directly or request.is_eager:
            return
        self.backend.report_progress(request.id, progress)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Record the start that Celery leaves out with ``ignore_result``: that drops the result, not the state."""
        super().before_start(task_id, args, kwargs)
        request = self.request
        if (self.ignore_result or request.ignore_result) and not request.is_eager:
            self.backend.store_result(task_id, {"hostname": request.hostname}, "STARTED", request=request)

    def retry(self, args: Any = None, kwargs: Any = None, exc: BaseException | None = None, **options: Any) -> Any:
        """Ask to be run again, as Celery's; the next attempt can only begin after RETRY is stored."""
        self.request.retry_exc = exc
        return super().retry(args, kwargs, exc, **options)

    def apply_async(
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, retries: int = 0, **options: Any
    ) -> Any:
        """Send the task, as Celery's; when it is its own retry, store that before the message leaves.

        Celery stores RETRY after it has published the next attempt, which may be running, or done, by then.
        """
        request = self.request
        if task_id is not None and task_id == request.id and retries == request.retries + 1:
            self.backend.mark_as_retry(task_id, request.retry_exc, _traceback(request.retry_exc), request=request)
            request.retry_stored = True
        return super().apply_async(args, kwargs, task_id, retries=retries, **options)


def _traceback(exc: BaseException | None) -> str | None:
    return None if exc is None else "".join(traceback.format_exception(exc))


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
