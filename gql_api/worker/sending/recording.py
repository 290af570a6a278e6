"""The record of a message that is about to leave: a new one, or the next message of an existing one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celery.app.task import Context
from celery.exceptions import Ignore, TaskRevokedError
from pymongo.errors import DuplicateKeyError

from gql_api.access.owner_signature import HEADER as OWNER_HEADER
from gql_api.dispatch import ATTEMPTS
from gql_api.record import canvas, claims, control, writes
from gql_api.record.fields import Status
from gql_api.record.model import NewTask
from gql_api.worker.backend.messages import ORIGINAL
from gql_api.worker.backend.unsent_steps import is_own_later_step
from gql_api.worker.sending.hidden_arguments import with_hidden_header
from gql_api.worker.sending.new_tasks import Times, new_task
from gql_api.worker.sending.sent import note_sent, unsent
from gql_api.worker.sending.task_ids import SenderTokens, check_not_deleted, check_not_taken, is_callers_choice
from gql_api.worker.state import cancellation
from gql_api.worker.state.attempt import attempt_of

if TYPE_CHECKING:
    from gql_api.record.reads import TaskRecord
    from gql_api.worker.backend.backend import Backend
    from gql_api.worker.sending.recording_producer import Outgoing

logger = logging.getLogger(__name__)

# The headers of a message with the times that its record keeps.
_EXPIRES = "expires"
_TIMES = ("eta", _EXPIRES)

_tokens = SenderTokens()


class DroppedError(Exception):
    """A message that is not sent: its task has begun, has ended or was deleted since it was first sent."""


def record_message(
    backend: Backend, options: dict[str, Any], times: Times, own_texts: Mapping[str, str], outgoing: Outgoing
) -> dict[str, Any] | None:
    """Store the record of a message, and return the headers to publish; None when it is not to be published now."""
    outgoing = _without_continued_owner(backend, with_hidden_header(backend, outgoing, own_texts))
    attempts = _record(backend, new_task(backend, outgoing, options, times))
    if attempts is None:
        return None
    # The record has the owner, whatever the message says.
    headers = {name: value for name, value in outgoing.headers.items() if name != OWNER_HEADER}
    expires = headers.get(_EXPIRES)
    for name in _TIMES:
        # The worker shows the time in the task's request. Workers of an earlier version read the expiry from there too.
        if (text := headers.pop(name, None)) is not None:
            headers[ORIGINAL + name] = text
    if backend.stock is not None:
        # A stock worker reads the expiry from the message only.
        headers[_EXPIRES] = expires
    return {**headers, ATTEMPTS: attempts} if attempts else headers


def _without_continued_owner(backend: Backend, outgoing: Outgoing) -> Outgoing:
    """Return a message without its header of an owner, if it continues another task, or is a task's own next one.

    Such a task has the owner of the other one, or its own. A header that the first sender of a chain gave wrongly must
    not fail the task before.
    """
    sender = backend.app.current_worker_task
    is_own = sender is not None and sender.request.id == outgoing.headers["id"]
    if OWNER_HEADER not in outgoing.headers or (is_callers_choice(sender) and not is_own):
        return outgoing
    headers = {name: value for name, value in outgoing.headers.items() if name != OWNER_HEADER}
    return replace(outgoing, headers=headers)


def note_message_sent(backend: Backend, headers: dict[str, Any]) -> None:
    """Note, while stock workers may take the message with these headers, that the broker has it."""
    note_sent(backend, {headers["id"]: headers.get(ATTEMPTS, 0)})


def _record(backend: Backend, task: NewTask) -> int | None:
    """Store the record, or the next message in an existing one.

    Returns:
        The number of attempts that have begun, for the message; None when the task waits for its time.

    Raises:
        Ignore: the message is a retry by an attempt that does not hold its task any more.
        DroppedError: the task takes no such message any more.
        DuplicateTaskIdError: the sender gave the id of another task.
    """
    sender = backend.app.current_worker_task
    own = attempt_of(sender.request) if sender is not None and sender.request.id == task.id else None
    if own is not None and own.is_sending_retry:
        if task.scheduled_for is not None and task.scheduled_for <= datetime.now(UTC):
            task = replace(task, scheduled_for=None)
        if not backend.store_retry(sender.request, task):
            raise Ignore("the task was taken away while it ran")
        return None if task.waits else own.number
    with _tokens.token(task.id) as token:
        new = replace(task, sender_token=token)
        attempts = backend.when_store_answers(lambda: _create_or_continue(backend, new, sender, is_own=own is not None))
    if own is not None:
        own.note_own_message()
    return attempts


def _create_or_continue(backend: Backend, task: NewTask, sender: Any, *, is_own: bool) -> int | None:
    if backend.store.is_deleted(task.id):
        check_not_deleted(sender, task.id)
        # For instance a step of a chain, sent again by a second attempt of the step before.
        logger.warning("Task %s was deleted: it is not sent", task.id)
        raise DroppedError
    if not is_own and not is_callers_choice(sender):
        # Mostly a later step of a chain, which was recorded when the first one was sent.
        taken_up = backend.store.change(unsent(backend, canvas.take_up(task)))
        if taken_up is not None:
            return _attempts_of(taken_up)
    try:
        record = backend.store.change(unsent(backend, writes.create(task)), upsert=True)
    except DuplicateKeyError:
        known = backend.store.find(task.id)
        if known is not None and known.sender_token == task.sender_token:
            # An earlier try was taken, and its reply was lost.
            record = backend.store.confirm(known)
        else:
            # A function sends a step of its own chain by itself.
            is_own_step = known is not None and is_own_later_step(sender, known)
            if known is not None and not (is_own or is_own_step):
                check_not_taken(sender, known)
            taken_up = backend.store.change(unsent(backend, canvas.take_up(task))) if is_own_step else None
            record = taken_up or _continue(backend, task)
            if record is None:
                _end_what_follows_revoked(backend, task, known)
                raise DroppedError from None
            return _attempts_of(record)
    if record is None:
        raise DroppedError
    if backend.stock is None:
        # The tasks that stock workers send and run have no record.
        backend.later_steps.record(task)
    return _attempts_of(record)


def _attempts_of(record: TaskRecord) -> int | None:
    """Return the number of attempts for the message of a task; None when the task waits for its time."""
    return None if record.status is Status.SCHEDULED else record.attempts


def _end_what_follows_revoked(backend: Backend, task: NewTask, known: TaskRecord | None) -> None:
    """End what follows a step that was revoked while it waited for the step before, in case that is not done yet."""
    if known is None or known.status is not Status.REVOKED or known.attempts or task.message is None:
        return
    reason = control.NO_REASON if known.error is None else known.error.message
    request = Context({**task.message.headers, **task.message.embed, "id": task.id})
    with cancellation.in_the_name_of(known.revoked_by):
        backend.end_what_follows(request, TaskRevokedError(reason))


def _continue(backend: Backend, task: NewTask) -> TaskRecord | None:
    """Store the next message of a task; return None when the task takes no other message any more."""
    if task.waits:
        return backend.store.change(claims.postpone(task))
    return backend.store.note_one(unsent(backend, claims.remember_message(task, backend.settings.lease_seconds)))
