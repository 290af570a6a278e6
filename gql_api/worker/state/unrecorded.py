"""Task functions without records: ``@app.task(record=False)``. Their messages are sent and run as stock Celery would.

A message decides, not only the function: one that has a record all the same was sent by a program that does not know
the function, and runs as its record says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gql_api.worker.state.attempt import attempt_of

if TYPE_CHECKING:
    from celery import Celery

# The header of a message without a record, whose sender knows the function.
UNRECORDED = "gql_api_unrecorded"


def is_unrecorded_function(app: Celery, name: str | None) -> bool:
    """Return whether the tasks of a function are not recorded, as far as this process knows it."""
    return name is not None and getattr(app.tasks.get(name), "record", True) is False


def skip_unrecorded_sender(app: Celery, headers: dict[str, Any]) -> None:
    """Let a message whose sender has no record be a child of the task that has sent that, or the root of a tree."""
    sender = app.current_worker_task
    if sender is None or not attempt_of(sender.request).is_unrecorded:
        return
    request = sender.request
    if headers.get("parent_id") == request.id:
        headers["parent_id"] = request.parent_id
    if headers.get("root_id") == request.id:
        headers["root_id"] = headers["id"]


def recorded_sender_id(app: Celery) -> str | None:
    """Return the id of the running task, or of the task that has sent that if it has no record; None without one."""
    sender = app.current_worker_task
    if sender is None:
        return None
    task_id: str | None = sender.request.parent_id if attempt_of(sender.request).is_unrecorded else sender.request.id
    return task_id
