"""Bootsteps of the consumer: what becomes of messages when the broker is lost, and how often gevent workers poll."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.worker import state

# How long a worker without an event loop waits for a message before it looks whether tasks have ended.
_WAIT_SECONDS = 0.05


class NoRestore(bootsteps.StartStopStep):
    """Keeps a worker from putting back what it has not acknowledged when it loses the broker.

    kombu does that as it closes a lost connection, over a new one; when the broker is away that fails, and the worker
    with it. The tasks run on, and what was not begun is sent again by recovery. A worker that stops still puts back
    what it has not begun.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Begin with each new connection."""
        parent.task_consumer.channel.do_restore = False

    def stop(self, parent: Any) -> None:
        """Restore at the end of the worker, not at that of a connection."""
        stops = state.should_stop is not None or state.should_terminate is not None
        if stops and parent.task_consumer is not None:
            parent.task_consumer.channel.do_restore = True


class EagerPolling(bootsteps.StartStopStep):
    """Lets a gevent worker that was busy take its next task as soon as one has ended.

    It has no event loop: between two waits for a message it acknowledges the tasks that have ended, and sees whether
    there is room for more. Celery's waits last two seconds.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Begin with each new connection."""
        transport = parent.connection.transport
        if parent.hub is None:
            transport.drain_events = functools.partial(_drain_events, transport.drain_events)


def _drain_events(drain: Callable[..., None], connection: Any, timeout: float | None = None) -> None:
    drain(connection, timeout=_WAIT_SECONDS if timeout is None else min(timeout, _WAIT_SECONDS))
