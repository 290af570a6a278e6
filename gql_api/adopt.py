"""The adoption of an existing Celery application: its tasks are recorded, claimed, announced and watched."""

from __future__ import annotations

from typing import Any, TypeVar

from celery import Celery

from gql_api.dispatch import JSON_ONLY, PRIORITY_STEPS
from gql_api.worker.app.consumer import EagerPolling, NoRestore, NoteAnswers, TolerantAcks
from gql_api.worker.app.pool_results import KeepPartialResults
from gql_api.worker.app.task import Task
from gql_api.worker.app.unknown_tasks import UnknownTasks
from gql_api.worker.attempts.leases import Leases
from gql_api.worker.errors import TaskCancelledError
from gql_api.worker.recovery.recovery import Recoverer
from gql_api.worker.registration.announcer import Announcer

__all__ = ["Task", "TaskCancelledError", "adopt"]

App = TypeVar("App", bound=Celery)

# A connection to the broker can become half-open, when a firewall forgets it for example: nothing answers, and nothing
# closes it. Without these, a worker waits for ever: while it polls for messages, or where a function sends a task.
_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 3.0,
    "socket_timeout": 3.0,
    "socket_keepalive": True,
    # kombu drops a connection whose BRPOP has no reply after 1 + 5 s, and checks that every 5 s.
    "health_check_interval": 5,
}


def adopt(app: App) -> App:
    """Make a Celery application keep its tasks in records. Call it right after creating the app, before its tasks.

    The app keeps its own broker, queues, routes and other settings. MongoDB and Redis are those of our settings.

    Returns:
        The same app.

    Raises:
        RuntimeError: the app has tasks already, which would run without records.
    """
    if app.finalized or "Task" in vars(app):
        raise RuntimeError("adopt the Celery app right after making it: it has been set up already")
    app.task_cls = "gql_api.worker.app.task:Task"
    app.amqp_cls = "gql_api.worker.app.amqp:RecordingAMQP"
    app.backend_cls = "gql_api.worker.backend.backend:Backend"
    app.AsyncResult = app.subclass_with_self("gql_api.worker.app.result:AsyncResult")
    app.control_cls = "gql_api.worker.app.control:RecordingControl"
    app.steps["worker"].update({Leases, Recoverer, Announcer, KeepPartialResults})
    app.steps["consumer"].update({NoRestore, NoteAnswers, TolerantAcks, EagerPolling, UnknownTasks})
    app.conf.update(
        result_backend="gql_api.worker.backend.backend:Backend",
        **JSON_ONLY,
        # A message is acknowledged after its task, so that the broker delivers it again when this worker is lost.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # The claim stores the start.
        task_track_started=False,
        # The worker waits for a broker that is away, however long.
        broker_connection_max_retries=None,
        # While MongoDB is away, a worker keeps its outcomes, and stores them when MongoDB is back.
        result_backend_always_retry=True,
        result_backend_max_sleep_between_retries_ms=2000,
        result_backend_thread_safe=True,
    )
    app.on_after_configure.connect(_set_transport_options, weak=False)
    return app


def _set_transport_options(source: Any, **_: Any) -> None:
    """Keep the app's own options for its broker, but read the lists in which the API puts messages."""
    options = {**_TRANSPORT_OPTIONS, **source.broker_transport_options, **PRIORITY_STEPS}
    source.update(broker_transport_options=options)
