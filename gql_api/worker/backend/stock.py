"""The result backend of stock Celery processes, which share the queues while an application is being adopted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery import states
from celery.app import backends
from celery.backends.base import BaseBackend
from celery.backends.mongodb import MongoBackend
from celery.backends.redis import RedisBackend

from gql_api.addresses import errors_without_credentials
from gql_api.worker.backend.codec import Meta
from gql_api.worker.store.connections import PerProcess

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 2.0
# By default Celery tries again for 20 s, and waits for an answer for 120 s.
_RETRIES = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
_REDIS_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
_MONGODB_TIMEOUTS = ("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS")


class StockBackend:
    """The results of stock workers, which have no records, and a copy of our results for stock senders.

    An error of it is logged and nothing else: the records are complete without it. No task waits for it for long.

    Args:
        app: the adopted application, whose settings for backends count here too.
        address: as in ``result_backend``; ``disabled`` if stock workers store no results.
    """

    def __init__(self, app: Celery, address: str) -> None:
        self._is_disabled = address == "disabled"
        self._backend = PerProcess(lambda: _connect(app, address))

    @property
    def has_results(self) -> bool:
        """True if stock workers store results."""
        return not self._is_disabled

    def store(self, task_id: str, result: Any, state: str, traceback: str | None, request: Any) -> None:
        """Store the end of a task for the stock process that waits for it."""
        if self._is_disabled or state not in states.READY_STATES:
            return
        try:
            self._backend.get().store_result(task_id, result, state, traceback=traceback, request=request)
        except Exception:
            logger.exception("The result of task %s is recorded, but not in STOCK_RESULT_BACKEND", task_id)

    def find(self, task_id: str) -> Meta | None:
        """Return the result of a task that a stock worker has run, or None."""
        try:
            return self.read(task_id)
        except Exception:
            logger.exception("STOCK_RESULT_BACKEND: the result of task %s cannot be read", task_id)
            return None

    def read(self, task_id: str) -> Meta | None:
        """Return what :meth:`find` returns. Any error of the backend is raised."""
        if self._is_disabled:
            return None
        meta: Meta = self._backend.get().get_task_meta(task_id, cache=False)
        return meta if meta["status"] in states.READY_STATES else None

    def finish_chord_part(self, request: Any, state: str, result: Any) -> None:
        """Count a member of a chord that a stock process made."""
        if self._is_disabled:
            return
        try:
            self._backend.get().on_chord_part_return(request, state, result)
        except Exception:
            logger.exception("Task %s is not counted in its chord in STOCK_RESULT_BACKEND", request.id)


def _connect(app: Celery, address: str) -> BaseBackend:
    with errors_without_credentials(address):
        kind, url = backends.by_url(address, app.loader)
        backend: BaseBackend = kind(app=app, url=url)
    # The outcome is in its record already: no process waits for another server.
    backend.always_retry = False
    if isinstance(backend, RedisBackend):
        backend.retry_policy = _RETRIES
        backend.connparams.update(dict.fromkeys(_REDIS_TIMEOUTS, _TIMEOUT_SECONDS), retry_on_timeout=False)
    elif isinstance(backend, MongoBackend):
        backend.options.update(dict.fromkeys(_MONGODB_TIMEOUTS, round(1000 * _TIMEOUT_SECONDS)))
    return backend
