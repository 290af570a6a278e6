"""``celery purge``, ``app.control.purge()`` and ``celery worker --purge``: the tasks of the purged messages end.

Without that, recovery would find that their messages are lost, and send them again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kombu.connection import Connection
from kombu.transport.redis import Channel

from gql_api import values
from gql_api.dispatch import ATTEMPTS
from gql_api.record import due, fields, queries
from gql_api.worker.backend.backend import Backend

if TYPE_CHECKING:
    from celery import Celery

_BATCH = 500
_MAX_ATTEMPTS = 2**31


def connection_class(app: Celery) -> type[Connection]:
    """Return the class of an application's connections to its broker, whose channels purge queues as described."""
    return type("Connection", (_PurgingConnection,), {"app": app})


class _PurgingConnection(Connection):
    app: Celery

    def channel(self) -> Any:
        """Create a channel, and replace its method that every purge ends in."""
        channel: Any = super().channel()  # type: ignore[no-untyped-call] # kombu has no types
        if isinstance(channel, Channel):
            purge = functools.partial(_purge, self.app, channel, channel.queue_purge)
            channel.queue_purge = purge  # type: ignore[method-assign] # of this channel only
        return channel


def _purge(app: Celery, channel: Any, purge: Callable[..., Any], queue: str, **options: Any) -> Any:
    backend = app.backend
    if not isinstance(backend, Backend):
        return purge(queue, **options)
    # This comes first, so that no message is removed if MongoDB is away.
    _end_held_back(app, backend, queue)
    return sum(_purge_list(backend, channel, queue, priority) for priority in channel.priority_steps)


def _end_held_back(app: Celery, backend: Backend, queue: str) -> None:
    # The purging process may not know the functions yet.
    app.loader.import_default_modules()
    names = sorted(app.tasks)
    while True:
        found = backend.collection.find(due.held_back_from(queue, names), queries.ID_ONLY).limit(_BATCH)
        ids, token = [document[fields.ID] for document in found], uuid.uuid4().hex
        if ids:
            write = due.take_purged_held_back(ids, token, queue, names)
            backend.store.change_many(write, due.taken(ids, token, fields.Status.REVOKED))
        if len(ids) < _BATCH:
            return


def _purge_list(backend: Backend, channel: Any, queue: str, priority: int) -> int:
    """Remove the messages of a queue at a priority, and return their number."""
    name, purged = channel._q_for_pri(queue, priority), 0  # noqa: SLF001 - kombu's key
    # kombu's own prefixing leaves these commands out.
    key = f"{channel.global_keyprefix}{name}"
    with channel.conn_or_acquire() as client:
        # Messages that are sent after this are not purged.
        left = client.llen(name)
        while left > 0:
            size = min(left, _BATCH)
            # One step, so that no worker takes one of these messages in between.
            messages, _ = client.pipeline().lrange(key, -size, -1).ltrim(key, 0, -size - 1).execute()
            try:
                _end_tasks_of(backend, messages, queue)
            except BaseException:
                client.rpush(name, *messages)
                raise
            left, purged = left - size, purged + len(messages)
    return purged


def _end_tasks_of(backend: Backend, messages: list[bytes], queue: str) -> None:
    """Revoke the tasks that some messages would have started."""
    ids_by_attempts = defaultdict(list)
    for message in messages:
        # Any program may have put other content into the list.
        with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
            headers = json.loads(message)["headers"]
            attempts, task_id = headers.get(ATTEMPTS, 0), headers["id"]
            if isinstance(attempts, int) and attempts < _MAX_ATTEMPTS and values.is_text(task_id):
                ids_by_attempts[attempts].append(task_id)
    for attempts, ids in ids_by_attempts.items():
        token = uuid.uuid4().hex
        write = due.take_purged(ids, attempts, token, queue)
        backend.store.change_many(write, due.taken(ids, token, fields.Status.REVOKED))
