"""The claim: a worker runs a task only after it has claimed it, and stores an outcome only while it holds the claim."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import traceback
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import celery
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.imports import symbol_by_name

from gql_api.dispatch import ATTEMPTS
from gql_api.record import claims
from gql_api.record.fields import is_internal
from gql_api.record.model import Claim
from gql_api.record.reads import TaskRecord
from gql_api.worker.attempts import argument_errors, function_errors, outcomes, request, time_limits
from gql_api.worker.attempts.lost import revoke_cancelled
from gql_api.worker.backend.messages import ORIGINAL
from gql_api.worker.errors import TaskCancelledError
from gql_api.worker.registration.versions import is_for_another_version
from gql_api.worker.sending.sent import unsent
from gql_api.worker.state import cancellation
from gql_api.worker.state.attempt import AttemptState, attempt_of, raise_if_cancelled
from gql_api.worker.state.process import RUN, has_pool_processes, is_main_process

if TYPE_CHECKING:
    from celery import Celery
    from celery.canvas import Signature

    from gql_api.worker.backend.backend import Backend

logger = logging.getLogger(__name__)

# Held while the arguments of a call are not checked.
_unchecked = threading.RLock()

_TAKEN_AWAY = "was taken away while it ran"


class ReplacedError(Ignore):
    """The end of a task without a record that was replaced: its chain belongs to its replacement."""


class Claiming:
    """The mixin that stands before every task class of a worker, so that no base class can bypass the claim."""

    # ``ignore_result`` drops the result; a failure or a retry is the task's state.
    store_errors_even_if_ignored = True
    # The claim stores the start.
    track_started = False
    hard_time_limit: float | None
    own_soft_time_limit: float | None
    request: Any
    backend: Backend

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Claim the task, unless it has no record, then call ``before_start`` of the task's own class.

        Raises:
            Ignore: this worker must not run the task: another one does, or the task has ended.
        """
        request = self.request
        if not request.is_eager:
            time_limits.disable()
            if self.backend.unrecorded.has(request):
                attempt_of(request).run_unrecorded()
            else:
                _claim(self.backend, request)
                _restore_times(request)
        try:
            with attempt_of(request).in_before_start():
                super().before_start(task_id, args, kwargs)  # type: ignore[misc] # the task's class comes after this one
        except (Ignore, Reject) as error:
            settled = outcomes.end_without_result(self.backend, request, error)
            if settled is None:
                raise
            raise settled from error
        except BaseException as error:
            stand_in = function_errors.stand_in_for(self.backend, request, error, self.hard_time_limit)
            if stand_in is None:
                raise
            raise stand_in from error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function, and check that the task is still this attempt's before anything follows.

        Raises:
            Ignore: the task was taken away while the function ran.
        """
        request = self.request
        attempt = attempt_of(request)
        if attempt.enter_unrecorded_function():
            return self._run_unrecorded(*args, **kwargs)
        if not attempt.enter_function():
            return super().__call__(*args, **kwargs)  # type: ignore[misc] # as above
        try:
            result = self._run_within_time_limit(*args, **kwargs)
        except (Ignore, Reject) as error:
            attempt.leave_function()
            settled = outcomes.end_without_result(self.backend, request, error)
            if settled is None:
                raise
            raise settled from error
        except TaskCancelledError as error:
            attempt.leave_function()
            outcomes.end_stopped(self.backend, request, str(error))
            raise Ignore(str(error)) from error
        except BaseException as error:
            stand_in = function_errors.stand_in_for(self.backend, request, error, self.hard_time_limit)
            if stand_in is None:
                raise
            raise stand_in from error
        finally:
            attempt.leave_function()
            if attempt.claim is not None:
                cancellation.clear(attempt.claim.token)
        # Celery publishes callbacks and the next step of a chain before it stores the outcome.
        if request.callbacks or request.chain:
            _extend_lease(self.backend, request)
        self.backend.unsent_steps.end_dropped(request)
        return result

    def retry(self, args: Any = None, kwargs: Any = None, exc: BaseException | None = None, **options: Any) -> Any:
        """Ask for a retry as Celery does, unless the task was cancelled."""
        raise_if_cancelled(self.request)
        exc = argument_errors.shown_error(self.request, exc)
        attempt_of(self.request).ask_for_retry(exc)
        return super().retry(args, kwargs, exc, **options)  # type: ignore[misc] # as above

    def apply_async(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Send the task as Celery does. Mark its own retry, which is stored before its message is published."""
        request = self.request
        task_id = rest[0] if rest else options.get("task_id")
        attempt = attempt_of(request)
        if not attempt.number or task_id != request.id or options.get("retries") != request.retries + 1:
            if is_for_another_version(self.app, self.name, options.get("headers"), args, kwargs):  # type: ignore[attr-defined] # as above
                with self._without_check():
                    return super().apply_async(args, kwargs, *rest, **options)  # type: ignore[misc] # as above
            return super().apply_async(args, kwargs, *rest, **options)  # type: ignore[misc] # as above
        with attempt.sending_retry():
            try:
                return super().apply_async(args, kwargs, *rest, **options)  # type: ignore[misc] # as above
            except Exception as error:
                # Celery rejects the message of a task whose retry cannot be sent.
                self.backend.mark_as_failure(task_id, error, traceback.format_exc(), request=request)
                attempt.note_end()
                raise

    @contextlib.contextmanager
    def _without_check(self) -> Iterator[None]:
        """Let Celery send arguments that do not fit the function of this process."""
        with _unchecked:
            vars(self)["typing"] = False
            try:
                yield
            finally:
                vars(self).pop("typing", None)

    def on_replace(self, sig: Signature) -> Any:
        """Hand the task over before its replacement is sent, whose last part runs under the same id."""
        request, backend, attempt = self.request, self.backend, attempt_of(self.request)
        if not attempt.number:
            try:
                return super().on_replace(sig)  # type: ignore[misc] # as above
            except Ignore as error:
                raise ReplacedError(str(error)) from error
        raise_if_cancelled(request)
        hand_over = claims.requeue(
            request.id, claims.held_by(attempt.number), f"replaced by {sig.name}", due_in=backend.settings.lease_seconds
        )
        backend.logs.store(request)
        if backend.when_store_answers(lambda: backend.store.change(hand_over)) is None:
            raise _refusal(request, _TAKEN_AWAY)
        attempt.replace()
        try:
            return super().on_replace(sig)  # type: ignore[misc] # as above
        except Ignore:
            if not attempt.own_message_sent:
                # The worker of the part before sends the part with the task's own id. No worker may start it earlier.
                alone = claims.exclude_from_recovery(request.id, claims.returned_by(attempt.number))
                backend.when_store_answers(lambda: backend.store.note(alone))
            raise

    def _run_unrecorded(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function of a task without a record, and end the later steps of its chain that will not be sent."""
        request, chain = self.request, list(self.request.chain or ())
        try:
            return self._run_within_time_limit(*args, **kwargs)
        except ReplacedError:
            raise
        except (Ignore, Reject) as error:
            outcomes.end_after_unrecorded(self.backend, request, error)
            raise
        finally:
            attempt_of(request).leave_function()
            self.backend.unsent_steps.end_dropped(request, chain)

    def _run_within_time_limit(self, *args: Any, **kwargs: Any) -> Any:
        # The signal can come between the return of the function and ``disable``: the function was in time.
        returned, result = False, None
        time_limits.enable()
        try:
            result = self._run_function(*args, **kwargs)
            returned = True
        except SoftTimeLimitExceeded:
            if not returned:
                raise
        finally:
            time_limits.disable()
        return result

    def _run_function(self, *args: Any, **kwargs: Any) -> Any:
        own = super().__call__  # type: ignore[misc] # as above
        if own.__func__ is celery.Task.__call__:
            # Celery's would make another request, as for a call by the function.
            own = self.run  # type: ignore[attr-defined] # as above
        try:
            return own(*args, **kwargs)
        except argument_errors.REPEATING as error:
            shown = argument_errors.shown_error(self.request, error)
            if shown is error and not isinstance(error, argument_errors.WithoutInputError):
                raise
            raise shown from None


def cover(app: Celery, hard: float | None = None, soft: float | None = None) -> None:
    """Make every task of an app claim before it runs, except for Celery's internal tasks.

    Args:
        app: the application of a worker.
        hard: the hard time limit of functions without their own, in seconds.
        soft: the soft time limit of functions without their own, in seconds.
    """
    for task in app.tasks.values():
        if not is_internal(task.name) and not isinstance(task, Claiming):
            own_hard, own_soft = task.time_limit, task.soft_time_limit
            _cover(task)
            task.default_time_limit, task.default_soft_time_limit = hard, soft
            task.hard_time_limit = time_limits.bounds.of_function(own_hard or hard)
            task.own_soft_time_limit = own_soft


def _cover(task: celery.Task) -> None:
    # The task gets a subclass of its own class, once, before the worker makes strategies, tracers and processes.
    #
    # A base class (``app.task_cls``) comes after the user's own in the order of methods, and a user's ``before_start``
    # or ``__call__`` need not call it. The tracer reads both from the class, so attributes of the task do not suffice.
    #
    # A new task in the registry would leave the old one in use, and its retries and replacements would bypass the
    # claim: ``@app.task`` hands out a ``PromiseProxy``, which keeps the task that it found first, and the ``run`` that
    # ``autoretry_for`` makes calls ``retry`` of the task that was registered. A task that was registered as an object
    # has attributes, and perhaps a constructor, that only its author knows.
    kind = type(task)
    own = symbol_by_name(kind.Request)
    attributes: dict[str, Any] = {"__module__": kind.__module__, "Request": _covered_request(own)}
    if has_pool_processes():
        # The pool would count at the wrong time: see gql_api.worker.attempts.time_limits.
        attributes["time_limit"] = property(lambda _: None, _set_hard_limit)
        attributes["soft_time_limit"] = property(_soft_limit, _set_soft_limit)
    task.__class__ = type(kind.__name__, (Claiming, kind), attributes)


def _set_hard_limit(task: Any, seconds: float | None) -> None:
    """Change the limit as Celery's remote control does."""
    task.hard_time_limit = time_limits.bounds.of_function(seconds or task.default_time_limit)


def _soft_limit(task: Any) -> float | None:
    """Return the soft limit to functions, which may read it, but not to the pool."""
    seconds: float | None = None if is_main_process() else task.own_soft_time_limit
    return seconds


def _set_soft_limit(task: Any, seconds: float | None) -> None:
    """Change the limit as Celery's remote control does."""
    task.own_soft_time_limit = seconds


def _covered_request(own: type) -> type:
    return request.Request if issubclass(request.Request, own) else type(own.__name__, (request.Request, own), {})


def _restore_times(request: Any) -> None:
    """Give the request the times that its record keeps: a retry inherits the expiry."""
    claim = attempt_of(request).claim
    if claim is None:
        return
    record = claim.record
    # Of a retry the record does not keep the time.
    starts = record.scheduled_for if claim.number == 1 else None
    request.eta = request.eta or _text(starts) or getattr(request, f"{ORIGINAL}eta", None)
    request.expires = request.expires or _text(record.expires_at)


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _claim(backend: Backend, request: Any) -> None:
    claim = Claim(
        token=uuid.uuid4().hex,
        worker=str(request.hostname or "unknown"),
        run=RUN,
        pid=os.getpid(),
        lease_seconds=backend.settings.lease_seconds,
        attempts=getattr(request, ATTEMPTS, 0),
    )
    attempt: AttemptState = attempt_of(request)
    attempt.begin_claim()
    record = backend.when_store_answers(lambda: _try_claim(backend, request, claim))
    if record is None:
        attempt.refuse_claim()
        raise _refusal(request, "is run by another worker, or over")
    attempt.take_claim(claim.token, record)


def _try_claim(backend: Backend, request: Any, claim: Claim) -> TaskRecord | None:
    # The message of the next attempt is not sent yet.
    write = unsent(backend, claims.claim(request.id, claim))
    record = backend.store.change(write)
    if record is not None:
        return record
    known = backend.store.find(request.id)
    if known is None:
        backend.record_arrival(request)
        return backend.store.change(write)
    if known.claim == claim.token:
        # An earlier try was taken, and its reply was lost.
        return backend.store.confirm(known)
    if known.cancel_requested_at is not None and not known.is_final:
        revoke_cancelled(backend, known, request, claims.waiting())
        return None
    in_time = unsent(backend, claims.claim_in_time(request.id, claim))
    if known.expires_at is not None and (record := backend.store.change(in_time)):
        return record
    if backend.store.change(claims.expire(request.id)) is not None:
        logger.info("Task %s has expired", request.id)
    return None


def _extend_lease(backend: Backend, request: Any) -> None:
    """Extend the lease, and so check that the task is still this attempt's.

    Raises:
        Ignore: it is not.
    """
    lease = claims.extend_lease(request.id, attempt_of(request).number or 0, backend.settings.lease_seconds)
    if not backend.when_store_answers(lambda: backend.store.note(lease)):
        raise _refusal(request, _TAKEN_AWAY)


def _refusal(request: Any, why: str) -> Ignore:
    logger.info("Task %s %s", request.id, why)
    return Ignore(why)
