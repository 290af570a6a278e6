"""Celery's remote control, where ``revoke`` of a recorded task is what ``cancelTask`` is."""

from __future__ import annotations

from typing import Any

from celery.app.control import Control

from gql_api.record import control
from gql_api.worker.backend.backend import Backend


class RecordingControl(Control):
    """Ends tasks in their records first: no worker has to be online to hear it, nor to remember it."""

    def revoke(self, task_id: Any, destination: Any = None, terminate: bool = False, *args: Any, **options: Any) -> Any:
        """Revoke a task, or several, as Celery's; ``terminate`` ends a running one by force.

        A running task that is not to be terminated can see that it was revoked, as by ``cancelTask``.
        """
        backend = self.app.backend
        if isinstance(backend, Backend):
            for each in task_id if isinstance(task_id, (list, tuple, set, frozenset)) else [task_id]:
                _end(backend, each, force=terminate)
        return super().revoke(task_id, destination, terminate, *args, **options)


def _end(backend: Backend, task_id: str, *, force: bool) -> None:
    """End a task that waits, or ask a running one for its end; it may begin in between."""
    for _ in range(2):
        for write in (
            control.cancel_waiting(task_id, "revoked"),
            control.request_cancel(task_id, "revoked", force=force),
        ):
            if backend.when_store_answers(lambda write=write: backend.store.change(write)):  # type: ignore[misc] # a loop variable
                return
