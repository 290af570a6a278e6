"""The worker's exceptions."""

from __future__ import annotations

from celery.exceptions import TaskRevokedError

from gql_api import adopt
from gql_api.worker.errors import IllegalTransitionError, TaskCancelledError, WorkerError


def test_a_cancelled_task_raises_what_celery_knows_as_revoked() -> None:
    """Code that catches Celery's exception keeps working, and users import ours from the public module."""
    error = TaskCancelledError("not wanted")
    assert isinstance(error, TaskRevokedError)
    assert isinstance(error, WorkerError)
    assert issubclass(IllegalTransitionError, WorkerError)
    assert str(error) == "not wanted"
    assert adopt.TaskCancelledError is TaskCancelledError
