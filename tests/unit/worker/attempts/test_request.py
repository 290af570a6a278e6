"""A task as the worker's main process knows it."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.worker import state
from celery.worker.request import create_request_cls

from gql_api.worker.attempts.request import Request


class _Pool:
    """Notes what it is to run."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def apply_async(self, _function: object, *, correlation_id: str, **_rest: object) -> None:
        """Be asked to run a task."""
        self.begun.append(correlation_id)


@pytest.mark.parametrize(("should_terminate", "begins"), [(None, True), (True, False), (0, False)])
def test_a_worker_that_is_about_to_end_begins_nothing(
    monkeypatch: pytest.MonkeyPatch, should_terminate: int | None, *, begins: bool
) -> None:
    """A message that comes then is not acknowledged either: the end puts it back for another."""
    app, pool = Celery(broker="memory://"), _Pool()
    task: Any = app.task(_nothing, shared=False)
    with app.connection_for_write() as connection:
        sent = task.apply_async(connection=connection)
        message = connection.SimpleQueue("celery").get(timeout=10)
        kind = create_request_cls(Request, task, pool, "worker", None, app=app)
        received = kind(message, app=app, task=task, connection_errors=())
        monkeypatch.setattr(state, "should_terminate", should_terminate)
        if begins:
            received.execute_using_pool(pool)
        else:
            with pytest.raises(TaskRevokedError):
                received.execute_using_pool(pool)
        assert (pool.begun, message.acknowledged) == ([sent.id] if begins else [], False)


def _nothing() -> None:
    """Do nothing."""
