"""A worker runs a task only after it has claimed it, and tells its end only while it holds it."""

from __future__ import annotations

import logging
import os
import traceback
import uuid
from typing import TYPE_CHECKING, Any

import celery
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.imports import symbol_by_name

from gql_api.record import claims
from gql_api.record.fields import is_internal
from gql_api.record.model import Claim
from gql_api.record.reads import TaskRecord
from gql_api.worker.attempts import request, time_limits
from gql_api.worker.attempts.lost import end_as_asked
from gql_api.worker.backend.messages import ORIGINAL
from gql_api.worker.state import cancellation
from gql_api.worker.state.attempt import Hold, hold_of, raise_if_cancelled
from gql_api.worker.state.cancellation import TaskCancelledError
from gql_api.worker.state.process import RUN, has_pool_processes

if TYPE_CHECKING:
    from celery import Celery
    from celery.canvas import Signature

    from gql_api.worker.backend.backend import Backend

logger = logging.getLogger(__name__)


class Claiming:
    """What every task class of a worker gets in front of it, so that no base class can bypass the claim."""

    # ``ignore_result`` drops the result: that the task failed, or will be retried, is its state.
    store_errors_even_if_ignored = True
    # The claim tells the start.
    track_started = False
    request: Any
    backend: Backend

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Claim the task, then do what the task's own class does before a start.

        Raises:
            Ignore: the task is not to be run: another has it, or it is over.
        """
        request = self.request
        if not request.is_eager:
            time_limits.shut()
            _claim(self.backend, request)
            for time in ("eta", "expires"):
                setattr(request, time, getattr(request, time) or getattr(request, ORIGINAL + time, None))
        try:
            super().before_start(task_id, args, kwargs)  # type: ignore[misc] # the task's class comes after this one
        except (Ignore, Reject) as error:
            self._end_without_outcome(request, error)
            raise

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function, and let go on only what still holds the task.

        Raises:
            Ignore: the task was taken away while the function ran.
        """
        request = self.request
        hold = hold_of(request)
        if not hold.attempt or hold.running:
            return super().__call__(*args, **kwargs)  # type: ignore[misc] # as above
        hold.running = True
        try:
            result = self._run_within_time_limit(*args, **kwargs)
        except (Ignore, Reject) as error:
            self._end_without_outcome(request, error)
            raise
        except TaskCancelledError as error:
            self._end_cancelled(request, str(error))
            raise Ignore(str(error)) from error
        finally:
            cancellation.forget(hold.claim or "")
        # What follows is published before the end is stored.
        if request.callbacks or request.chain:
            _insist(self.backend, request)
        return result

    def retry(self, args: Any = None, kwargs: Any = None, exc: BaseException | None = None, **options: Any) -> Any:
        """Ask to be run again, as Celery's; one whose end was asked for is not."""
        raise_if_cancelled(self.request)
        hold_of(self.request).retry_exc = exc
        return super().retry(args, kwargs, exc, **options)  # type: ignore[misc] # as above

    def apply_async(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Send the task, as Celery's; tell its own retry, which is stored before the message leaves, from others."""
        request = self.request
        task_id = rest[0] if rest else options.get("task_id")
        hold = hold_of(request)
        if not hold.attempt or task_id != request.id or options.get("retries") != request.retries + 1:
            return super().apply_async(args, kwargs, *rest, **options)  # type: ignore[misc] # as above
        hold.retries = True
        try:
            return super().apply_async(args, kwargs, *rest, **options)  # type: ignore[misc] # as above
        except Exception as error:
            # Celery rejects the message of a task whose retry cannot be made.
            self.backend.mark_as_failure(task_id, error, traceback.format_exc(), request=request)
            raise
        finally:
            hold.retries = False

    def on_replace(self, sig: Signature) -> Any:
        """Hand the task over to what replaces it, before that is sent: its last part runs under the same id."""
        request, backend, hold = self.request, self.backend, hold_of(self.request)
        if not hold.attempt:
            return super().on_replace(sig)  # type: ignore[misc] # as above
        raise_if_cancelled(request)
        hand_over = claims.requeue(
            request.id, claims.held_by(hold.attempt), f"replaced by {sig.name}", due_in=backend.settings.lease_seconds
        )
        backend.store_log(request)
        if backend.when_store_answers(lambda: backend.store.change(hand_over)) is None:
            raise _refusal(request, "was taken away while it ran")
        hold.replaced = True
        try:
            return super().on_replace(sig)  # type: ignore[misc] # as above
        except Ignore:
            if not hold.sent_own_message:
                # Until the part with the task's own id is sent, by who runs the part before, nobody is to start it.
                alone = claims.exclude_from_recovery(request.id, claims.returned_by(hold.attempt))
                backend.when_store_answers(lambda: backend.store.note(alone))
            raise

    def _end_cancelled(self, request: Any, said: str) -> None:
        """Revoke a task whose function stopped for it, for the reason that was given by who asked."""
        backend = self.backend
        record = backend.when_store_answers(lambda: backend.store.find(request.id))
        reason = None if record is None else record.cancel_reason
        backend.mark_as_revoked(request.id, reason or said, request)

    def _end_without_outcome(self, request: Any, error: Ignore | Reject) -> None:
        """Follow a function that wants no outcome: ``Reject`` lets it run again, ``Ignore`` leaves it as it is."""
        backend, hold = self.backend, hold_of(request)
        if not hold.attempt or hold.replaced:
            return
        fence = claims.held_by(hold.attempt)
        backend.store_log(request)
        if isinstance(error, Reject) and error.requeue:
            back = claims.requeue(request.id, fence, "rejected by its function")
            backend.when_store_answers(lambda: backend.store.change(back))
        elif isinstance(error, Ignore):
            alone = claims.exclude_from_recovery(request.id, fence)
            backend.when_store_answers(lambda: backend.store.note(alone))

    def _run_within_time_limit(self, *args: Any, **kwargs: Any) -> Any:
        """A function that has returned is not too late, however long its end takes to be told."""
        returned, result = False, None
        time_limits.let_in()
        try:
            result = self._function(*args, **kwargs)
            returned = True
        except SoftTimeLimitExceeded:
            if not returned:
                raise
        finally:
            time_limits.shut()
        return result

    def _function(self, *args: Any, **kwargs: Any) -> Any:
        own = super().__call__  # type: ignore[misc] # as above
        if own.__func__ is celery.Task.__call__:
            # Celery's would make a request of its own for a call of the function's.
            return self.run(*args, **kwargs)  # type: ignore[attr-defined] # as above
        return own(*args, **kwargs)


def cover(app: Celery, default_time_limit: float | None = None) -> None:
    """Let every task of an app claim before it runs, but Celery's internal ones."""
    for task in app.tasks.values():
        if not is_internal(task.name) and not isinstance(task, Claiming):
            kind = type(task)
            own = symbol_by_name(kind.Request)
            covered = {"__module__": kind.__module__, "Request": _covered_request(own)}
            task.__class__ = type(kind.__name__, (Claiming, kind), covered)
            task.hard_time_limit = task.time_limit or default_time_limit
            if has_pool_processes():
                # The pool would count on while the end is told; see gql_api.worker.attempts.time_limits.
                task.time_limit = None


def _covered_request(own: type) -> type:
    return request.Request if issubclass(request.Request, own) else type(own.__name__, (request.Request, own), {})


def _claim(backend: Backend, request: Any) -> None:
    taking = Claim(
        token=uuid.uuid4().hex,
        worker=str(request.hostname or "unknown"),
        run=RUN,
        pid=os.getpid(),
        lease_seconds=backend.settings.lease_seconds,
    )
    hold: Hold = hold_of(request)
    hold.attempt = 0
    record = backend.when_store_answers(lambda: _take(backend, request, taking))
    if record is None:
        raise _refusal(request, "is run by another worker, or over")
    hold.attempt, hold.claim, hold.record = record.attempts, taking.token, record


def _take(backend: Backend, request: Any, taking: Claim) -> TaskRecord | None:
    take = claims.claim(request.id, taking)
    record = backend.store.change(take)
    if record is not None:
        return record
    known = backend.store.find(request.id)
    if known is None:
        backend.record_arrival(request)
        return backend.store.change(take)
    if known.claim == taking.token:
        return known
    if known.cancel_requested_at is not None and not known.is_final:
        end_as_asked(backend, known, request, claims.waiting())
        return None
    if known.expires_at is not None and (record := backend.store.change(claims.claim_in_time(request.id, taking))):
        return record
    if backend.store.change(claims.expire(request.id)) is not None:
        logger.info("Task %s has expired", request.id)
    return None


def _insist(backend: Backend, request: Any) -> None:
    """Extend the lease, which only who holds the task can."""
    hold = claims.extend_lease(request.id, hold_of(request).attempt or 0, backend.settings.lease_seconds)
    if not backend.when_store_answers(lambda: backend.store.note(hold)):
        raise _refusal(request, "was taken away while it ran")


def _refusal(request: Any, why: str) -> Ignore:
    logger.info("Task %s %s", request.id, why)
    return Ignore(why)
