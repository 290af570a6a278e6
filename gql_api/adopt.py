"""The adoption of an existing Celery application: its tasks are recorded, claimed, announced and watched."""

from __future__ import annotations

from typing import TypeVar

from celery import Celery, _state

from gql_api.worker.app.consumer import EagerPolling, KeepClient, NoRestore, NoteAnswers, TolerantAcks
from gql_api.worker.app.pool_results import KeepPartialResults
from gql_api.worker.app.rate_limits import RateLimits
from gql_api.worker.app.task import Task
from gql_api.worker.app.task_registry import adopt_tasks
from gql_api.worker.app.unknown_tasks import UnknownTasks
from gql_api.worker.attempts.leases import Leases
from gql_api.worker.attempts.message_guard import MessageGuard
from gql_api.worker.errors import DuplicateTaskIdError, TaskCancelledError
from gql_api.worker.recovery.recovery import Recoverer
from gql_api.worker.registration.announcer import Announcer
from gql_api.worker.sending.configuration import CheckConfiguration, Configuration
from gql_api.worker.state.owners import owned_by

__all__ = ["DuplicateTaskIdError", "Task", "TaskCancelledError", "adopt", "owned_by"]

App = TypeVar("App", bound=Celery)

# The name of the app that Celery makes where there is none.
_FALLBACK = "default"


def adopt(app: App) -> App:
    """Make a Celery application keep its tasks in records. Call it right after creating the app, before its tasks.

    The app keeps its own broker, queues, routes and other settings, and its own task classes: every task has the
    methods of :class:`Task` beside those of its class. MongoDB and Redis are those of our settings.

    Returns:
        The same app.

    Raises:
        RuntimeError: the app has tasks already, which would run without records.
        ImproperlyConfigured: the app has a setting that cannot work, for instance a broker that is not Redis. A setting
            that it gets later is checked when it connects to its broker.
    """
    adopt_tasks(app)
    app.amqp_cls = "gql_api.worker.sending.amqp:RecordingAMQP"
    app.backend_cls = "gql_api.worker.backend.backend:Backend"
    app.AsyncResult = app.subclass_with_self("gql_api.worker.sending.result:AsyncResult")
    app.control_cls = "gql_api.worker.app.control:RecordingControl"
    app.steps["worker"].update({CheckConfiguration, Leases, Recoverer, Announcer, KeepPartialResults})
    app.steps["consumer"].update({NoRestore, NoteAnswers, TolerantAcks, EagerPolling, RateLimits, UnknownTasks})
    app.steps["consumer"].update({KeepClient, MessageGuard})
    Configuration(app)
    # Celery's current app is that of one thread. All other threads use the default app.
    if app.set_as_current and (_state.default_app is None or _state.default_app.main == _FALLBACK):
        app.set_default()
    return app
