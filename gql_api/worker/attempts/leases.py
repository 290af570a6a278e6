"""A thread of the worker's main process extends the leases of its active tasks and finds their cancel requests."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from celery import bootsteps
from celery.worker import state
from pymongo.errors import PyMongoError

from gql_api.record import claims
from gql_api.worker.app.log_handler import attach
from gql_api.worker.attempts.claims import cover
from gql_api.worker.attempts.request import Request
from gql_api.worker.attempts.time_limits import bounds, is_function_running, pool_limits
from gql_api.worker.backend.backend import Backend
from gql_api.worker.sending.configuration import CheckConfiguration
from gql_api.worker.state import cancellation, tracebacks
from gql_api.worker.state.attempt import attempt_of
from gql_api.worker.state.forks import renew_locks
from gql_api.worker.state.process import RUN, background_thread, become_worker, has_pool_processes
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

logger = logging.getLogger(__name__)

# A lease outlives two beats that did not reach MongoDB.
_BEATS_PER_LEASE = 3
# A lease outlives two calls over connections that are half-open, whose other end does not answer.
_CALLS_PER_LEASE = 4
# How often a worker reads the cancel requests for what it runs.
_CANCEL_SECONDS = 1.0
_DRAIN_SECONDS = 3.0


class Leases(bootsteps.StartStopStep):
    """The bootstep that makes the worker's tasks claim before its processes start, then extends their leases.

    Its thread does not stop with the other services, but with the process: tasks run on while a worker shuts down.
    """

    # What cannot work does not become a worker.
    requires = (CheckConfiguration,)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        has_processes = parent.pool_cls.__module__.endswith("prefork")
        become_worker(has_event_loop=has_processes)
        pool = str(parent.pool_cls.__module__).rpartition(".")[2]
        pool_limits.use(pool, parent.app, parent.time_limit, parent.soft_time_limit)
        if isinstance(parent.app.backend, Backend):
            bounds.use(parent.app.backend.settings)
        cover(parent.app, parent.time_limit, parent.soft_time_limit)
        if has_processes:
            renew_locks()
            parent.time_limit = parent.soft_time_limit = None
        if isinstance(parent.app.backend, Backend):
            attach(parent.app.backend)
            tracebacks.attach()

    def start(self, parent: Any) -> None:
        """Start the thread."""
        backend = parent.app.backend
        if isinstance(backend, Backend):
            threading.Thread(target=_beat, args=(backend,), name="leases", daemon=True).start()
        else:
            logger.warning("Tasks are not claimed: the result backend is %r, not ours", backend)

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - the bootstep's signature
        """Wait until the latest outcomes are stored."""
        if not background_thread.drain(_DRAIN_SECONDS):
            logger.warning("MongoDB does not answer: other workers find out the outcomes of the last tasks")

    def terminate(self, parent: Any) -> None:
        """Wait for the same when the worker stops at once."""
        self.stop(parent)


def _beat(backend: Backend) -> None:
    lease = backend.settings.lease_seconds
    # A client of its own, whose only connection is replaced as soon as an answer is late.
    store = Store(Connections(backend.settings, lease / _CALLS_PER_LEASE))
    pause = min(_CANCEL_SECONDS, lease / _BEATS_PER_LEASE)
    extend_at = 0.0
    while True:
        began, active = time.monotonic(), _active_ids()
        try:
            if active and began >= extend_at:
                store.note(claims.extend_leases(RUN, active, lease))
                extend_at = began + lease / _BEATS_PER_LEASE
            if active:
                _deliver_cancel_requests(store, active)
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, the leases of %d tasks run on: %s", len(active), error)
        except Exception:
            logger.exception("The leases of running tasks could not be extended")
        time.sleep(max(0.1, pause - (time.monotonic() - began)))


def _deliver_cancel_requests(store: Store, active: list[str]) -> None:
    """Notify the processes that run cancelled tasks, or end those processes."""
    for cancel in store.cancels_among(active, RUN):
        cancellation.notify(cancel.pid, cancel.claim)
        if cancel.force and has_pool_processes():
            request = _active_request(cancel.task_id)
            if request is not None and _is_running(request, cancel.pid):
                logger.info("Task %s is ended by force", cancel.task_id)
                request.end_by_force(cancel.pid)


def _is_running(request: Request, pid: int) -> bool:
    # A function that has returned is not ended: its outcome counts.
    return attempt_of(request._context).pid == pid and is_function_running(pid)  # noqa: SLF001 - Celery's name


def _active_request(task_id: str) -> Request | None:
    request: Request | None = state.requests.get(task_id)
    return request if request in state.active_requests else None


def _active_ids() -> list[str]:
    while True:
        try:
            return [request.id for request in state.active_requests]
        except RuntimeError:
            # The thread of the event loop changed the set while this one read it.
            continue
