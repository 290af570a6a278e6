"""Celery's remote control, where ``revoke`` of a recorded task has the effect of ``cancelTask``."""

from __future__ import annotations

import contextlib
from typing import Any

from celery.app.control import Control

from gql_api.record import control
from gql_api.worker.backend.backend import Backend
from gql_api.worker.backend.messages import text_id


class RecordingControl(Control):
    """A remote control that ends tasks in their records first: no worker has to be online or to remember it."""

    def revoke(self, task_id: Any, destination: Any = None, terminate: bool = False, *args: Any, **options: Any) -> Any:
        """Revoke a task, or several, as Celery does; ``terminate`` ends a running one by force.

        Without ``terminate``, a running task can see that it was revoked, as after ``cancelTask``.
        """
        several = isinstance(task_id, (list, tuple, set, frozenset))
        task_id = [text_id(each) for each in task_id] if several else text_id(task_id)
        backend = self.app.backend
        if isinstance(backend, Backend):
            for each in task_id if several else [task_id]:
                _end(backend, each, force=terminate)
        return super().revoke(task_id, destination, terminate, *args, **options)

    def purge(self, connection: Any = None) -> int:
        """Discard the waiting tasks of the application's queues, as Celery does; they become REVOKED."""
        # The pool of connections belongs to all applications of the process.
        with self.app.connection_for_write() if connection is None else contextlib.nullcontext(connection) as own:
            purged: int = super().purge(own)
        return purged

    discard_all = purge


def _end(backend: Backend, task_id: str, *, force: bool) -> None:
    """Cancel a waiting task, or ask a running one to end."""
    # Twice, because the task may start between the two writes.
    for _ in range(2):
        for write in (
            control.cancel_waiting(task_id, "revoked"),
            control.request_cancel(task_id, "revoked", force=force),
        ):
            if backend.when_store_answers(lambda write=write: backend.store.change(write)):  # type: ignore[misc] # a loop variable
                return
