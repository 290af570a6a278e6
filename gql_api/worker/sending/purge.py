"""``celery purge``, ``app.control.purge()`` and ``celery worker --purge``: the tasks of the purged messages end.

Without that, recovery would find that their messages are lost, and send them again.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kombu.connection import Connection

from gql_api.record import due, fields, queries
from gql_api.worker.backend.backend import Backend

if TYPE_CHECKING:
    from celery import Celery

_BATCH = 500


def connection_class(app: Celery) -> type[Connection]:
    """Return the class of an application's connections to its broker, whose channels purge queues as described."""
    return type("Connection", (_PurgingConnection,), {"app": app})


class _PurgingConnection(Connection):
    app: Celery

    def channel(self) -> Any:
        """Create a channel, and replace its method that every purge ends in."""
        channel: Any = super().channel()  # type: ignore[no-untyped-call] # kombu has no types
        channel.queue_purge = functools.partial(_purge, self.app, channel.queue_purge)
        return channel


def _purge(app: Celery, purge: Callable[..., Any], queue: str, **options: Any) -> Any:
    backend = app.backend
    if isinstance(backend, Backend):
        # First, so that no message is removed if MongoDB is away.
        _cancel_waiting(backend, queue)
    return purge(queue, **options)


def _cancel_waiting(backend: Backend, queue: str) -> None:
    while True:
        found = backend.collection.find(due.purgeable(queue), queries.ID_ONLY).limit(_BATCH)
        ids, token = [document[fields.ID] for document in found], uuid.uuid4().hex
        if ids:
            taken = due.taken(ids, token, fields.Status.REVOKED)
            backend.store.change_many(due.take_purged(ids, token, queue), taken)
        if len(ids) < _BATCH:
            return
