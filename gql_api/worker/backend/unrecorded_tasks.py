"""The decision whether a task has a record, by its function and its message; see ``worker/state/unrecorded.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gql_api.worker.state.attempt import attempt_of
from gql_api.worker.state.process import is_worker
from gql_api.worker.state.unrecorded import UNRECORDED, is_unrecorded_function

if TYPE_CHECKING:
    from celery import Celery


class UnrecordedTasks:
    """Decides which tasks have no record.

    Args:
        app: the app with the task functions.
        is_recorded: asks MongoDB whether an id has a record that clients see.
    """

    def __init__(self, app: Celery, is_recorded: Callable[[str], bool]) -> None:
        self._app = app
        self._is_recorded = is_recorded

    def has(self, request: Any) -> bool:
        """Return whether the task of a request has no record.

        MongoDB is asked only about a message of a sender that did not know the function, or is not adopted.
        """
        attempt = attempt_of(request)
        if attempt.is_unrecorded or attempt.number is not None:
            return attempt.is_unrecorded
        if not is_unrecorded_function(self._app, getattr(request, "task", None)):
            return False
        return bool(request.is_eager or getattr(request, UNRECORDED, False)) or not self._is_recorded(request.id)

    def sends(self, name: str, task_id: str) -> bool:
        """Return whether the message of a task is to be sent without a record."""
        if not is_unrecorded_function(self._app, name):
            return False
        sender = self._app.current_worker_task
        if sender is None or sender.request.is_eager:
            # In a worker: the body of a chord, for instance, whose record another sender may have created.
            return not is_worker() or not self._is_recorded(task_id)
        attempt = attempt_of(sender.request)
        if sender.request.id == task_id:
            return attempt.is_unrecorded
        return attempt.is_function_running or not self._is_recorded(task_id)
