"""The result backend of stock Celery processes, which share the queues while an application is being adopted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery import states
from celery.app import backends
from celery.backends.base import BaseBackend

from gql_api.worker.backend.codec import Meta
from gql_api.worker.store.connections import PerProcess

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)


class StockBackend:
    """The results of stock workers, which have no records, and a copy of our results for stock senders.

    An error of it is logged and nothing else: the records are complete without it.

    Args:
        app: the adopted application, whose settings for backends count here too.
        address: as in ``result_backend``; ``disabled`` if stock workers store no results.
    """

    def __init__(self, app: Celery, address: str) -> None:
        self._is_disabled = address == "disabled"
        self._backend = PerProcess(lambda: _connect(app, address))

    def store(self, task_id: str, result: Any, state: str, traceback: str | None, request: Any) -> None:
        """Store the end of a task for the stock process that waits for it."""
        if self._is_disabled or state not in states.READY_STATES:
            return
        try:
            self._backend.get().store_result(task_id, result, state, traceback=traceback, request=request)
        except Exception:
            logger.exception("The result of task %s is recorded, but not in STOCK_RESULT_BACKEND", task_id)

    def find(self, task_id: str) -> Meta | None:
        """Return the result of a task that a stock worker has run; None if there is none."""
        if self._is_disabled:
            return None
        try:
            meta: Meta = self._backend.get().get_task_meta(task_id, cache=False)
        except Exception:
            logger.exception("STOCK_RESULT_BACKEND: the result of task %s cannot be read", task_id)
            return None
        return meta if meta["status"] in states.READY_STATES else None

    def finish_chord_part(self, request: Any, state: str, result: Any) -> None:
        """Count a member of a chord that a stock process made."""
        if not self._is_disabled:
            self._backend.get().on_chord_part_return(request, state, result)


def _connect(app: Celery, address: str) -> BaseBackend:
    kind, url = backends.by_url(address, app.loader)
    backend: BaseBackend = kind(app=app, url=url)
    # The outcome is in its record already: no process waits for another server.
    backend.always_retry = False
    return backend
