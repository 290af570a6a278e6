"""A worker holds on to what it runs: a thread of its main process extends the leases of its active tasks.

The same thread looks whether the end of one of them was asked for.
"""

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
from gql_api.worker.attempts.time_limits import runs_function
from gql_api.worker.backend.backend import Backend
from gql_api.worker.state import cancellation
from gql_api.worker.state.attempt import hold_of
from gql_api.worker.state.process import RUN, background, become_worker, has_pool_processes

logger = logging.getLogger(__name__)

# Leases outlive two beats that did not reach MongoDB.
_BEATS_A_LEASE = 3
# How often a worker looks whether the end of what it runs was asked for.
_CANCEL_SECONDS = 1.0
_FAREWELL_SECONDS = 3.0


class Leases(bootsteps.StartStopStep):
    """Covers the worker's tasks with claims before its processes start, then beats until the worker is gone.

    The thread is no service that stops with the others: tasks run on while a worker shuts down.
    """

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        has_processes = parent.pool_cls.__module__.endswith("prefork")
        become_worker(has_event_loop=has_processes)
        cover(parent.app, default_time_limit=parent.time_limit)
        if has_processes:
            parent.time_limit = None
        if isinstance(parent.app.backend, Backend):
            attach(parent.app.backend)

    def start(self, parent: Any) -> None:
        """Begin to beat."""
        backend = parent.app.backend
        if isinstance(backend, Backend):
            threading.Thread(target=_beat, args=(backend,), name="leases", daemon=True).start()
        else:
            logger.warning("Tasks are not claimed: the result backend is %r, not ours", backend)

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - the bootstep's signature
        """Let what was decided last be told."""
        if not background.drain(_FAREWELL_SECONDS):
            logger.warning("MongoDB does not answer: what became of the last tasks is found out by other workers")

    def terminate(self, parent: Any) -> None:
        """Do the same when the worker is told to stop at once."""
        self.stop(parent)


def _beat(backend: Backend) -> None:
    lease = backend.settings.lease_seconds
    pause = min(_CANCEL_SECONDS, lease / _BEATS_A_LEASE)
    extend_at = 0.0
    while True:
        began, active = time.monotonic(), _active_ids()
        try:
            if active and began >= extend_at:
                backend.store.note(claims.extend_leases(RUN, active, lease))
                extend_at = began + lease / _BEATS_A_LEASE
            if active:
                _pass_cancels_on(backend, active)
        except PyMongoError as error:
            logger.warning("MongoDB does not answer, the leases of %d tasks run on: %s", len(active), error)
        except Exception:
            logger.exception("The leases of running tasks could not be extended")
        time.sleep(max(0.1, pause - (time.monotonic() - began)))


def _pass_cancels_on(backend: Backend, active: list[str]) -> None:
    """Tell the processes that run tasks whose end was asked for, or end them."""
    for asked in backend.cancels_among(active, RUN):
        cancellation.tell(asked.pid, asked.claim)
        if asked.force and has_pool_processes():
            request = _active_request(asked.task_id)
            if request is not None and hold_of(request._context).run_by == asked.pid and runs_function(asked.pid):  # noqa: SLF001 - Celery's name
                logger.info("Task %s is ended by force", asked.task_id)
                request.end_by_force(asked.pid)


def _active_request(task_id: str) -> Request | None:
    request: Request | None = state.requests.get(task_id)
    return request if request in state.active_requests else None


def _active_ids() -> list[str]:
    while True:
        try:
            return [request.id for request in state.active_requests]
        except RuntimeError:
            # The event loop's thread changed the set while this one read it.
            continue
