"""Exceptions of task functions that Celery does not store: ``SystemExit``, ``KeyboardInterrupt``, and others like them.

Celery takes an exception that is not an ``Exception`` for the end of the process or the worker, even if the function
raised it. A function does so by ``sys.exit()``, or by ``asyncio.CancelledError`` that leaves ``asyncio.run``.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from billiard.common import terminate_handler_fired
from celery.exceptions import WorkerShutdown, WorkerTerminate
from celery.worker import state
from kombu.utils.encoding import safe_repr

from gql_api.record.claims import Loss
from gql_api.worker.attempts import lost
from gql_api.worker.errors import FunctionExitError
from gql_api.worker.state.attempt import attempt_of
from gql_api.worker.state.process import has_pool_processes

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend


def stand_in_for(backend: Backend, request: Any, error: BaseException, limit: float | None) -> FunctionExitError | None:
    """Note the exception of a function, and return the one to raise in its place so that Celery stores a failure.

    None means that the exception itself is to be raised: Celery stores it, or it came from outside to end the function.
    ``limit`` is the hard time limit of the function.
    """
    attempt = attempt_of(request)
    if attempt.claim is None:
        return None
    if _ends_worker(error):
        # A function may raise it as well, and ends a worker each time.
        kind = None if lost.is_worker_stopping() else Loss.WORKER
        lost.requeue(backend, request, "it was taken from its worker", lost=kind)
        return None
    if not isinstance(error, Exception) and _ends_function(request, error, limit):
        return None
    attempt.note_error(error)
    return None if isinstance(error, Exception) else FunctionExitError(safe_repr(error))  # type: ignore[no-untyped-call] # kombu has no types


def _ends_worker(error: BaseException) -> bool:
    """Return whether the error ends the worker: a signal handler raises it in the middle of a function."""
    is_main = not has_pool_processes() and threading.current_thread() is threading.main_thread()
    return is_main and isinstance(error, WorkerShutdown | WorkerTerminate)


def _ends_function(request: Any, error: BaseException, limit: float | None) -> bool:
    """Return whether the pool raised the error to end the function. The worker's main process handles its end."""
    if has_pool_processes():
        return bool(terminate_handler_fired())
    if _is(error, "greenlet", "GreenletExit"):
        # The main process forgets the request of a task whose greenlet it kills.
        return request.id not in state.requests
    if _is(error, "gevent", "Timeout"):
        own_limit, _ = request.timelimit or (None, None)
        limit = own_limit or limit
        return limit is not None and limit == getattr(error, "seconds", None)
    return False


def _is(error: BaseException, module: str, name: str) -> bool:
    # gevent is optional.
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(error, kind)
