"""Tasks whose rate limit is used up: they go back to their records for a while, and keep no other task waiting.

Celery keeps them in the worker, as a part of the messages that it may have at a time: a few of them block all others.
"""

from __future__ import annotations

import itertools
import logging
import operator
import threading
import time
import uuid
import weakref
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

from celery import bootsteps
from pymongo.errors import PyMongoError

from gql_api.dispatch import ATTEMPTS, PIPELINED
from gql_api.record import due
from gql_api.record.fields import is_internal
from gql_api.worker.backend.backend import Backend
from gql_api.worker.state.unrecorded import is_unrecorded_function

logger = logging.getLogger(__name__)

# A task that may run within this time waits in the worker, as in Celery, if there are not too many of them.
_KEEP_SECONDS = 1.0
_MAX_KEPT = 500
# A task comes back to its queue when it may run, but not later than this, for the limit may be changed at any time.
_MAX_SECONDS = 20.0
# If many tasks of a function wait, as many come back in a second, or twice as many as may run.
_MIN_PER_SECOND = 50.0
# More messages that are on their way to their records keep the worker from taking others.
_MAX_LEAVING = 1000
_PAUSE_SECONDS = 1.0


class RateLimits(bootsteps.Step):
    """A bootstep that replaces what Celery does with a task whose limit is used up, except for Celery's own tasks."""

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        # The strategies of the task functions, which are made for each connection, keep these methods.
        if isinstance(parent.app.backend, Backend):
            limiter = Limiter(parent, parent.app.backend)
            parent._limit_task = limiter.limit  # noqa: SLF001 - Celery's name
            parent._limit_post_eta = limiter.limit_after_eta  # noqa: SLF001 - Celery's name
            parent._limit_move_to_pool = limiter.start  # noqa: SLF001 - Celery's name


@dataclass(frozen=True, slots=True)
class _Leaving:
    request: Any
    wait: float
    rate: float
    # Kept, because each connection has its own.
    prefetch: Any

    @property
    def key(self) -> tuple[str, int]:
        """The tasks with the same key are changed by one write."""
        return self.request.task.name, self.request.request_dict.get(ATTEMPTS, 0)


class Limiter:
    """The limits of one worker. Its methods are called by the consumer's own thread, which does not wait for I/O."""

    def __init__(self, consumer: Any, backend: Backend) -> None:
        self._consumer = consumer
        self._backend = backend
        self._keep = consumer._limit_task  # noqa: SLF001 - Celery's name
        self._move_to_pool = consumer._limit_move_to_pool  # noqa: SLF001 - Celery's name
        self._kept: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._leaving: deque[_Leaving] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._away: defaultdict[str, deque[tuple[float, int]]] = defaultdict(deque)

    def limit(self, request: Any, bucket: Any, tokens: int) -> None:
        """Run a task now if its limit allows that, and otherwise later."""
        if is_internal(request.task.name) or is_unrecorded_function(request.task.app, request.task.name):
            # It has no record.
            self._keep(request, bucket, tokens)
            return
        if not bucket.contents and bucket.can_consume(tokens):
            self._move_to_pool(request)
            return
        wait = bucket.expected_time(tokens) + len(bucket.contents) * tokens / bucket.fill_rate
        if wait <= _KEEP_SECONDS and len(bucket.contents) < _MAX_KEPT:
            self._kept[request] = self._more_prefetch()
            self._keep(request, bucket, tokens)
            return
        with self._changed:
            prefetch = self._more_prefetch() if len(self._leaving) < _MAX_LEAVING else None
            self._leaving.append(_Leaving(request, wait, bucket.fill_rate, prefetch))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rate limits", daemon=True)
                self._thread.start()
            self._changed.notify()

    def limit_after_eta(self, request: Any, bucket: Any, tokens: int) -> None:
        """Do the same with a task whose message had a start time."""
        self._consumer.qos.decrement_eventually()
        self.limit(request, bucket, tokens)

    def start(self, request: Any) -> None:
        """Run a task that has waited in the worker."""
        prefetch = self._kept.pop(request, None)
        if prefetch is not None:
            prefetch.decrement_eventually()
        self._move_to_pool(request)

    def _more_prefetch(self) -> Any:
        prefetch = self._consumer.qos
        prefetch.increment_eventually()
        return prefetch

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._leaving)
                _, alike = next(itertools.groupby(self._leaving, operator.attrgetter("key")))
                batch = list(itertools.islice(alike, PIPELINED))
            token = uuid.uuid4().hex
            while not self._return(batch, token):
                time.sleep(_PAUSE_SECONDS)
            with self._changed:
                for _ in batch:
                    self._leaving.popleft()

    def _return(self, batch: list[_Leaving], token: str) -> bool:
        """Return tasks to their records, and release their messages; return False if MongoDB did not answer."""
        try:
            returned = self._store(batch, token)
        except PyMongoError as error:
            logger.warning("%d tasks with used-up rate limits wait in the worker: %s", len(batch), error)
            return False
        except Exception:
            logger.exception("%d tasks with used-up rate limits could not wait in their records", len(batch))
            returned = set()
        for each in batch:
            self._consumer.call_soon(self._release, each, each.request.id in returned)
        return True

    def _store(self, batch: list[_Leaving], token: str) -> set[str]:
        name, attempts = batch[0].key
        earliest, latest = self._times(batch)
        store, requests = self._backend.store, {each.request.id: each.request for each in batch}
        write = due.hold_back(list(requests), attempts, token, earliest, latest)
        returned = {record.id for record in store.change_many(write, due.held_back(list(requests), token))}
        if missing := requests.keys() - returned:
            # Tasks without a record were sent by a program that makes none.
            known = {record.id for record in store.find_all(list(missing))}
            for task_id in missing - known:
                self._backend.record_arrival(requests[task_id]._context)  # noqa: SLF001 - Celery's name
            write = due.hold_back(list(missing - known), attempts, token, earliest, latest)
            returned |= {record.id for record in store.change_many(write, due.held_back(list(missing), token))}
        self._away[name].append((time.monotonic() + latest, len(returned)))
        return returned

    def _times(self, batch: list[_Leaving]) -> tuple[float, float]:
        """Return the number of seconds after which the first of some tasks has to come back, and the last one."""
        away, now = self._away[batch[0].key[0]], time.monotonic()
        while away and away[0][0] < now:
            away.popleft()
        wait = min(batch[0].wait, _MAX_SECONDS)
        waiting = sum(number for _, number in away) + len(batch)
        average = waiting / max(_MIN_PER_SECOND, 2 * batch[0].rate)
        return max(wait, average / 2), max(wait, average * 3 / 2)

    def _release(self, each: _Leaving, is_returned: bool) -> None:
        """Acknowledge the message of a task, or let the claim decide about it; run by the consumer's own thread."""
        if each.prefetch is not None:
            each.prefetch.decrement_eventually()
        if is_returned:
            each.request.acknowledge()
        elif not each.request.message.channel.closed:
            # It has ended, for example, or runs on another worker, or was cancelled.
            self._move_to_pool(each.request)
