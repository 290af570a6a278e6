"""Every task that a Celery app of ours sends gets its record first, whatever code sends it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from celery.app.amqp import AMQP
from kombu.entity import Queue
from pymongo.errors import DuplicateKeyError

from jobs import values
from jobs.backend import Backend
from jobs.chords import parent_of_message
from jobs.outcomes import METADATA_HEADER
from jobs.record import writes
from jobs.record.details import NewTask
from jobs.record.fields import is_internal


class RecordingAMQP(AMQP):
    """Celery's AMQP, where ``delay``, ``apply_async``, ``send_task``, chains, groups, chords and retries all end.

    Here a message is complete: routed, with its id, parent and root. What goes wrong here is raised to who sends.
    """

    def _create_task_sender(self) -> Callable[..., Any]:
        send = super()._create_task_sender()

        def record_then_send(producer: Any, name: str, message: Any, **options: Any) -> Any:
            backend = self.app.backend
            if not is_internal(name) and isinstance(backend, Backend):
                _record(backend, _new_task(backend, message, options))
            return send(producer, name, message, **options)

        return record_then_send


def _record(backend: Backend, task: NewTask) -> None:
    """Make the record. A message that is sent again, for a retry, has its record."""

    def create() -> None:
        with contextlib.suppress(DuplicateKeyError):
            backend.store.change(writes.create(task), upsert=True)

    backend.when_store_answers(create)


def _new_task(backend: Backend, message: Any, options: dict[str, Any]) -> NewTask:
    headers, (args, kwargs, _) = message.headers, message.body
    return NewTask(
        id=headers["id"],
        name=headers["task"],
        args=list(backend.json_form(args) or []),
        kwargs=dict(backend.json_form(kwargs) or {}),
        metadata=_metadata(backend, options.get("headers") or {}),
        queue=_queue_name(options) or backend.app.conf.task_default_queue,
        priority=options.get("priority") or 0,
        parent_id=parent_of_message(headers["parent_id"]),
        root_id=headers["root_id"],
    )


def _metadata(backend: Backend, headers: dict[str, Any]) -> dict[str, Any]:
    """Read the metadata of ``apply_async(headers={"metadata": {...}})``.

    Raises:
        ValueError: it is no JSON object, or cannot be given back unchanged.
    """
    metadata = backend.json_form(headers.get(METADATA_HEADER)) or {}
    if not isinstance(metadata, dict):
        raise ValueError("metadata must be a JSON object")  # noqa: TRY004 - the value is wrong, not its Python type
    problems = values.check(metadata, (METADATA_HEADER,), backend.settings.metadata_max_bytes)
    if problems:
        raise ValueError("; ".join(f"{'.'.join(map(str, p.path))} {p.message}" for p in problems))
    return metadata


def _queue_name(options: dict[str, Any]) -> str | None:
    queue = options.get("queue")
    name = queue.name if isinstance(queue, Queue) else queue
    return name or options.get("routing_key")
