"""Ids of tasks that are sent a second time: by a caller by mistake, or by Celery, whose steps may run again."""

from __future__ import annotations

import contextlib
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from kombu.exceptions import OperationalError
from pymongo.errors import PyMongoError

from gql_api.record.reads import TaskRecord
from gql_api.worker.errors import DuplicateTaskIdError
from gql_api.worker.state.attempt import attempt_of
from gql_api.worker.state.process import is_worker

_MAX_UNCERTAIN = 1000


class SenderTokens:
    """The tokens by which a sender recognizes the record that it has stored, when it had no reply to that."""

    def __init__(self) -> None:
        self._uncertain: OrderedDict[str, str] = OrderedDict()

    @contextlib.contextmanager
    def token(self, task_id: str) -> Iterator[str]:
        """Provide the token for a task: a new one, or that of a failed try, whose write may have been made."""
        token = self._uncertain.pop(task_id, None) or uuid.uuid4().hex
        try:
            yield token
        except (PyMongoError, OperationalError):
            self._uncertain[task_id] = token
            while len(self._uncertain) > _MAX_UNCERTAIN:
                self._uncertain.popitem(last=False)
            raise


def check_not_taken(sender: Any, known: TaskRecord) -> None:
    """Check that an id which has a record may be sent again; ``sender`` is the running task, if any.

    Raises:
        DuplicateTaskIdError: a caller has given the id of another task.
    """
    if is_callers_choice(sender) and not _was_sent_by_earlier_attempt(sender, known):
        raise DuplicateTaskIdError(
            f"task_id: {known.id!r} is the id of another task ({known.name}, {known.status}): "
            "give each task an id of its own, or none"
        )


def check_not_deleted(sender: Any, task_id: str) -> None:
    """Check that the id of a deleted task is not given to another task.

    Raises:
        DuplicateTaskIdError: a caller has given it.
    """
    # A later attempt of the sender may send once more what was sent, has ended and was deleted.
    if is_callers_choice(sender) and (sender is None or (attempt_of(sender.request).number or 1) == 1):
        raise DuplicateTaskIdError(
            f"task_id: {task_id!r} is the id of a task that was deleted: give each task an id of its own, or none"
        )


def is_callers_choice(sender: Any) -> bool:
    """Return whether code of the application sends the task, not Celery as a consequence of another one."""
    if sender is None or sender.request.is_eager:
        # Without a running task, workers only continue what others have begun.
        return not is_worker()
    return attempt_of(sender.request).is_function_running


def _was_sent_by_earlier_attempt(sender: Any, known: TaskRecord) -> bool:
    claim = None if sender is None else attempt_of(sender.request).claim
    if claim is None or known.parent_id != sender.request.id:
        return False
    began = claim.record.started_at
    return began is None or known.created_at < began
