"""The reading side of the record: a task read from its document."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.fields import FINAL, WAITING, Status
from gql_api.record.fitness import rules
from gql_api.record.model import (
    Arguments,
    ErrorInfo,
    FormerMetadata,
    MessageParts,
    NewTask,
    Progress,
    Transition,
    Version,
)

Document = dict[str, Any]

# Times carry their offset. A time that Python cannot represent becomes the nearest one that it can. MongoDB stores
# texts that are not UTF-8, if a program sends such: one of them must not fail the read of all records beside it.
CODEC: CodecOptions[Document] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_CLAMP, unicode_decode_error_handler="replace"
)
# For documents that are read through TaskRecord only, which adds the offset to the times that are read.
FAST_CODEC: CodecOptions[Document] = CODEC.with_options(tz_aware=False)

# A dictionary by name is faster than the enum's own look-up.
_STATUSES = {str(status): status for status in Status}
_FINAL = frozenset(map(str, FINAL))

T = TypeVar("T")

_REQUIRED: Any = object()
_LAZY_RULES = rules.of(frozenset(f.LAZY))


def _utc(time: Any) -> Any:
    """Return a time with its offset, which :data:`FAST_CODEC` leaves out."""
    return time.replace(tzinfo=UTC) if isinstance(time, datetime) and time.tzinfo is None else time


class Field(property, Generic[T]):
    """A field of a record: its name in the document, its default when it is absent or null, and its decoder.

    ``stored``, called with a record, reads it without the decoder: a time in UTC, mostly without an offset, in a third
    of the time. ``may_be_absent`` is true if a document without a value says that the field is None.

    Reading a field that the record omits, or that is absent and has no default, raises :class:`LookupError`.
    """

    def __init__(self, name: str, *, default: T = _REQUIRED, decode: Callable[[Any], T] | None = None) -> None:
        super().__init__(_getter(name, default, decode))
        self.stored_name = name
        self.stored: Callable[[TaskRecord], T] = _getter(name, default, None)
        self.may_be_absent = default is None and name not in f.LAZY

    # A property calls its getter without a ``__get__`` in Python, which takes a fifth less time.
    if TYPE_CHECKING:

        @overload
        def __get__(self, record: None, owner: type | None = None) -> Self: ...
        @overload
        def __get__(self, record: TaskRecord, owner: type | None = None) -> T: ...
        def __get__(self, record: TaskRecord | None, owner: type | None = None) -> Self | T: ...


def _getter(name: str, default: Any, decode: Callable[[Any], Any] | None) -> Callable[[TaskRecord], Any]:
    may_be_elsewhere = default is _REQUIRED or name in f.LAZY

    def get(record: TaskRecord) -> Any:
        value = record.document.get(name)
        if value is None:
            if not may_be_elsewhere and not record.omitted:
                return default
            value = record._find(name)  # noqa: SLF001 - as above
            if value is None:
                return _default(record, name, default)
        return value if decode is None else decode(value)

    return get


def _default(record: TaskRecord, name: str, default: Any) -> Any:
    if default is _REQUIRED:
        raise LookupError(f"{name!r} of task {record.id} is missing")
    return default


class Time(Field[T]):
    """A time of a record, with its offset."""

    def __init__(self, name: str, *, default: T = _REQUIRED) -> None:
        super().__init__(name, default=default, decode=_utc)


def _error(stored: Document) -> ErrorInfo:
    return ErrorInfo(
        type=stored[f.TYPE],
        message=stored[f.MESSAGE],
        module=stored.get(f.MODULE),
        args=values.load(stored.get(f.ARGS)),
        traceback=stored.get(f.TRACEBACK),
    )


def _error_type(stored: Any) -> str | None:
    return stored.get(f.TYPE) if isinstance(stored, dict) else None


def _progress(stored: Document) -> Progress:
    message = stored.get(f.MESSAGE)
    return Progress(
        _figure(stored.get(f.CURRENT)),
        _figure(stored.get(f.TOTAL)),
        message if isinstance(message, str) else None,
        values.load(stored.get(f.DATA)),
    )


def _figure(stored: Any) -> float | None:
    return stored if values.is_number(stored) and math.isfinite(stored) else None


def _custom_state(stored: Document) -> tuple[str, Any]:
    return stored[f.NAME], values.load(stored[f.DATA])


_MESSAGE_PARTS = {part.name for part in dataclasses.fields(MessageParts)}


def _arguments(stored: Document) -> Arguments:
    return Arguments(values.load(stored[f.ARGS]), values.load(stored[f.KWARGS]))


def _message_parts(stored: Document) -> MessageParts:
    parts = {name: value for name, value in values.load(stored).items() if name in _MESSAGE_PARTS}
    if "task" in parts:
        # A whole message. An earlier version left empty kwargs out.
        parts.setdefault("kwargs", {})
    return MessageParts(**parts)


def _former_metadata(stored: Any) -> tuple[FormerMetadata, ...]:
    entries = stored if isinstance(stored, list) else []
    return tuple(
        FormerMetadata(entry[f.METADATA], entry[f.REVISION], _utc(entry[f.AT]), _revision(entry.get(f.FIRST_REVISION)))
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get(f.METADATA), dict)
        and isinstance(entry.get(f.REVISION), int)
        and isinstance(entry.get(f.AT), datetime)
    )


def _revision(stored: Any) -> int | None:
    return stored if isinstance(stored, int) else None


def replaced_metadata(document: Document) -> Document | None:
    """Return the metadata that the last change of a record has replaced; None if it changed others, or none is kept."""
    if document.get(f.METADATA_REVISION) != document[f.REVISION]:
        return None
    if (before := document.get(f.METADATA_BEFORE)) is not None:
        return before if isinstance(before, dict) else None
    former = _former_metadata(document.get(f.METADATA_PAST))
    return former[-1].stored if former and former[-1].revision == document[f.REVISION] else None


class TaskRecord:
    """A task, read from its document.

    ``document`` has the fields that are known and decoded. ``omitted`` names the fields that are unknown, mostly
    because they were too large for the event that the record came from. Reading one of them raises
    :class:`LookupError`, so that an unknown value cannot be taken for an absent one. ``lazy`` has the ``fields.LAZY``
    of the document as BSON, which is decoded when one of them is read.
    """

    name: Field[str] = Field(f.NAME)
    """The Celery task name."""
    args: Field[list[Any]] = Field(f.ARGS, decode=values.load)
    """The positional arguments that clients see, as JSON values."""
    kwargs: Field[dict[str, Any]] = Field(f.KWARGS, decode=values.load)
    """The keyword arguments that clients see, as JSON values."""
    hidden: Field[Arguments | None] = Field(f.HIDDEN, default=None, decode=_arguments)
    """The arguments that the function receives, if clients see others."""
    metadata: Field[dict[str, Any]] = Field(f.METADATA, decode=values.load_finite)
    """The caller's own JSON object."""
    stored_metadata: Field[Any] = Field(f.METADATA, default=None)
    """The metadata in its form in MongoDB, which the paths of filters go by; see :mod:`gql_api.values`."""
    metadata_revision: Field[int | None] = Field(f.METADATA_REVISION, default=None)
    """The revision of the last change of the metadata; None when it has not changed."""
    metadata_past: Field[Sequence[FormerMetadata]] = Field(f.METADATA_PAST, default=(), decode=_former_metadata)
    """The former metadata that are kept, the latest last."""
    metadata_tokens: Field[Sequence[str]] = Field(f.METADATA_TOKENS, default=())
    """The tokens of the last changes of the metadata by task functions."""

    result: Field[Any] = Field(f.RESULT, default=None, decode=values.load)
    """The return value of the task function, in kombu's JSON form."""
    chord_result: Field[Any] = Field(f.CHORD_RESULT, default=None, decode=values.load)
    """The result that is kept for the body of the task's chord, in kombu's JSON form."""
    error: Field[ErrorInfo | None] = Field(f.ERROR, default=None, decode=_error)
    """The reason of a failure, a revocation or a retry."""
    error_type: Field[str | None] = Field(f.ERROR, default=None, decode=_error_type)
    """The type of that error, which filters read."""
    progress: Field[Progress | None] = Field(f.PROGRESS, default=None, decode=_progress)
    """The last report of the running or last attempt."""
    custom_state: Field[tuple[str, Any] | None] = Field(f.CUSTOM_STATE, default=None, decode=_custom_state)
    """The name and meta of a custom state of the task function, while it is the latest."""
    children: Field[Sequence[Any]] = Field(f.CHILDREN, default=(), decode=values.load)
    """The results of the tasks that the task sent, as Celery's ``ResultBase.as_tuple`` in JSON."""
    stored_history: Field[list[Document]] = Field(f.HISTORY)
    """The last transitions as MongoDB has them, oldest first."""
    forgotten: Field[bool] = Field(f.FORGOTTEN, default=False)
    """True if ``AsyncResult.forget`` has dropped the result."""

    attempts: Field[int] = Field(f.ATTEMPTS)
    """The number of attempts that have begun."""
    lost_attempts: Field[int] = Field(f.LOST_ATTEMPTS, default=0)
    """The number of attempts whose process was lost while its worker lived on."""
    lost_workers: Field[int] = Field(f.LOST_WORKERS, default=0)
    """The number of attempts that were lost with their whole worker."""
    rejections: Field[int] = Field(f.REJECTIONS, default=0)
    """The number of attempts whose function asked for another one by ``Reject(requeue=True)``."""
    claim: Field[str | None] = Field(f.CLAIM, default=None)
    """The token of the claim that holds the task."""
    worker: Field[str | None] = Field(f.WORKER, default=None)
    worker_run: Field[str | None] = Field(f.WORKER_RUN, default=None)
    """The worker of the running or last attempt."""
    queue: Field[str] = Field(f.QUEUE)
    """The queue that the task was sent to."""
    priority: Field[int] = Field(f.PRIORITY)
    """Celery's priority on Redis: 0 first, 9 last."""
    logged: Field[Document] = Field(f.LOGGED, default={})
    """The counts of logged lines; see :mod:`gql_api.record.logs`."""
    message: Field[MessageParts] = Field(f.MESSAGE_PARTS, default=MessageParts(), decode=_message_parts)
    """The parts of its message that no other field has."""
    parent_id: Field[str | None] = Field(f.PARENT_ID, default=None)
    """The task that sent this one."""
    root_id: Field[str] = Field(f.ROOT_ID)
    """The first task of the tree; the task's own id when it is the first."""

    owner: Field[str | None] = Field(f.OWNER, default=None)
    """The subject that created the task, or that the task's parent belongs to."""
    tenant: Field[str | None] = Field(f.TENANT, default=None)
    """The tenant of the owner."""
    key_space: Field[str | None] = Field(f.KEY_SPACE, default=None)
    """The space of the idempotency key."""
    idempotency_key: Field[str | None] = Field(f.IDEMPOTENCY_KEY, default=None)
    """The key that the task was created with, until it expires."""
    input_digest: Field[str | None] = Field(f.INPUT_DIGEST, default=None)
    """The digest of the input that came with the key."""
    replay_of: Field[str | None] = Field(f.REPLAY_OF, default=None)
    """The task that this one repeats."""
    is_replayed: Field[bool] = Field(f.REPLAYED, default=False)
    """True if another task repeats this one. Events leave it out."""
    waits_for: Field[str | None] = Field(f.WAITS_FOR, default=None)
    """The step that this one is sent after, if it was not sent yet."""
    sender_token: Field[str | None] = Field(f.SENDER_TOKEN, default=None)
    """The token of the sender that created the record."""
    cancel_reason: Field[str | None] = Field(f.CANCEL_REASON, default=None)
    """The reason of the request to cancel the running task."""
    cancel_actor: Field[str | None] = Field(f.CANCEL_ACTOR, default=None)
    """The subject of the caller who requested it."""

    due_at: Time[datetime | None] = Time(f.DUE_AT, default=None)
    """The time that recovery goes by; see ``fields.DUE_AT``."""
    expires_at: Time[datetime | None] = Time(f.EXPIRES_AT, default=None)
    """The time at which the task is revoked unless it has started."""
    scheduled_for: Time[datetime | None] = Time(f.SCHEDULED_FOR, default=None)
    """The start time that the caller asked for."""
    cancel_requested_at: Time[datetime | None] = Time(f.CANCEL_REQUESTED_AT, default=None)
    """The time of the cancel request."""
    created_at: Time[datetime] = Time(f.CREATED_AT)
    """The time at which the record was created."""
    updated_at: Time[datetime] = Time(f.UPDATED_AT)
    """The time at which the latest revision was stored."""
    started_at: Time[datetime | None] = Time(f.STARTED_AT, default=None)
    """The time at which the running or last attempt began."""
    finished_at: Time[datetime | None] = Time(f.FINISHED_AT, default=None)
    """The time at which the task reached its final state."""

    def __init__(self, document: Document, omitted: frozenset[str] = frozenset(), lazy: bytes | None = None) -> None:
        self.document = document
        self._lazy = lazy
        self._version: Version | None = None
        self.omitted = omitted
        self.id: str = document[f.ID]
        self.revision: int = document[f.REVISION]
        self.status = _STATUSES[document[f.STATUS]]
        if not omitted.isdisjoint(document):
            # Fields look here only when they find no value.
            for name in omitted.intersection(document):
                del document[name]

    def __repr__(self) -> str:
        return f"<TaskRecord {self.id} {self.status} at revision {self.revision}>"

    # Every event needs it: a cached_property takes a lock.
    @property
    def version(self) -> Version:
        """The version of the task, one object for all that keep it: they need not keep the record."""
        if self._version is None:
            self._version = Version(self.revision, self.updated_at, self.status)
        return self._version

    @property
    def is_final(self) -> bool:
        """True if the task has ended."""
        return self.document[f.STATUS] in _FINAL

    @property
    def has_chord_result(self) -> bool:
        """True if the task ignores its result, and it is kept for the body of the task's chord."""
        return f.CHORD_RESULT in self.document

    @property
    def arguments(self) -> Arguments:
        """The arguments that the function receives, which no client may see."""
        return self.hidden or Arguments(self.args, self.kwargs)

    def as_sent(self) -> NewTask:
        """Return the task as its next message carries it, callbacks, chain and chord included."""
        real = self.arguments
        return NewTask(
            id=self.id,
            name=self.name,
            args=real.args,
            kwargs=real.kwargs,
            shown=None if self.hidden is None else Arguments(self.args, self.kwargs),
            queue=self.queue,
            priority=self.priority,
            parent_id=self.parent_id,
            root_id=self.root_id,
            message=self.message,
            attempts=self.attempts,
            expires_at=self.expires_at,
            owner=self.owner,
            tenant=self.tenant,
        )

    @cached_property
    def history(self) -> list[Transition]:
        """The last transitions, oldest first."""
        return [
            Transition(
                revision=entry[f.REVISION],
                status=Status(entry[f.STATUS]),
                at=_utc(entry[f.AT]),
                worker=entry.get(f.WORKER),
                message=entry.get(f.MESSAGE),
                actor=entry.get(f.ACTOR),
            )
            for entry in self.stored_history
        ]

    @property
    def revoked_by(self) -> str | None:
        """The subject of the caller who has cancelled the task; None if none has, or the task did not end by that."""
        return self.history[-1].actor if self.status is Status.REVOKED and self.history else None

    def before(self) -> TaskRecord | None:
        """Return the task as it was before the change that made this revision; None when that created the task.

        The result has the fields that filters read, except that it omits those whose former value is not known.

        Raises:
            LookupError: the record does not know the former status.
        """
        if self.revision == 1:
            return None
        document, unknown = dict(self._load_lazy()), {*self.omitted, f.UPDATED_AT}
        last = document[f.HISTORY][-1]
        if last[f.REVISION] == self.revision:
            document[f.STATUS] = document[f.HISTORY][-2][f.STATUS]
        status = Status(document[f.STATUS])
        if not status.is_final:
            document.pop(f.FINISHED_AT, None)
        if last[f.REVISION] == self.revision:
            self._undo_error(document, status, unknown)
        if document.get(f.METADATA_REVISION) == self.revision:
            replaced = replaced_metadata(document)
            if replaced is None:
                unknown.add(f.METADATA)
            else:
                document[f.METADATA] = replaced
                unknown.discard(f.METADATA)
        # A retry or a replacement may go to another queue, also without a revision of its own.
        began_before = self.attempts > (1 if status in WAITING and self.status is Status.STARTED else 0)
        if began_before and (status in WAITING or self.status in WAITING):
            unknown.add(f.QUEUE)
        if len(document[f.HISTORY]) > 1 and document[f.HISTORY][-2].get(f.MESSAGE) == f.WAITS_FOR_STEP:
            # A later step of a chain that was sent: its message may go elsewhere than was expected.
            unknown |= {f.QUEUE, f.PARENT_ID}
        return TaskRecord(document, frozenset(unknown))

    def _undo_error(self, document: Document, former: Status, unknown: set[str]) -> None:
        """Give a document the error that the task had with a former status, which the last change has ended."""
        if former is Status.STARTED or not self._may_have_had_error:
            document.pop(f.ERROR, None)
            unknown.discard(f.ERROR)
        elif self.status not in WAITING or self.status is Status.RETRY:
            unknown.add(f.ERROR)

    @property
    def _may_have_had_error(self) -> bool:
        """True if the task may have had an error before its last status: after an attempt, until the next begins."""
        entries = self.stored_history
        return entries[0][f.REVISION] > 1 or any(entry[f.STATUS] == Status.RETRY for entry in entries[:-1])

    def with_metadata(self, metadata: dict[str, Any]) -> TaskRecord:
        """Return the task as it would be with other metadata."""
        return TaskRecord({**self._load_lazy(), f.METADATA: values.dump(metadata)}, self.omitted - {f.METADATA})

    def with_former_metadata(self, since: datetime) -> Iterator[tuple[TaskRecord, datetime]]:
        """Yield the task with each of the metadata that it had at or after a time and does not have any more, if kept.

        Each comes with the time until which it had them.

        The other fields have their present values, except that those are omitted whose former value is not known.
        """
        document, unknown = self._load_lazy(), self._not_known_before() | {f.FINISHED_AT}
        for former in self.metadata_past:
            if former.until >= since:
                yield TaskRecord({**document, f.METADATA: former.stored}, frozenset(unknown)), former.until

    def former_states(self, revision: int, at: datetime) -> Iterator[TaskRecord]:
        """Yield the task in each state, other than the present, that it may have had from a revision or a time on.

        A state is a status and metadata. The other fields have their present values, except that those are omitted
        whose former value is not known.

        Args:
            revision: the revision; the state that the task had with it is the first.
            at: the time; the same is true of it.

        Raises:
            LookupError: the record does not know its history that far back.
        """
        document, unknown = self._load_lazy(), self._not_known_before()
        former, known = self._all_former_metadata(), set[tuple[Status, int]]()
        for first, end, ended in self._stretches(former):
            if end <= revision and ended < at:
                continue
            status, metadata = self._status_at(first), self._metadata_at(first, former)
            if (status, id(metadata)) in known:
                continue
            known.add((status, id(metadata)))
            state = {**document, f.STATUS: status.value, f.METADATA: metadata}
            if not status.is_final:
                state.pop(f.FINISHED_AT, None)
            yield TaskRecord(state, frozenset(unknown if metadata is not None else unknown | {f.METADATA}))

    def _stretches(self, former: Sequence[FormerMetadata]) -> Iterator[tuple[int, int, datetime]]:
        """Yield the first revision of each former state, the first one after it, and a time at which it had ended."""
        times = {entry.revision: entry.at for entry in self.history}
        times |= {each.revision: each.until for each in former} | {self.revision: self.updated_at}
        bounds = {1, *times, self.metadata_revision or 1}
        bounds |= {each.revision - 1 if each.first is None else each.first for each in former}
        changes = sorted(times.items())
        for first, end in itertools.pairwise(sorted(bound for bound in bounds if 0 < bound <= self.revision)):
            yield first, end, next(time for revision, time in changes if revision >= end)

    def _status_at(self, revision: int) -> Status:
        for entry in reversed(self.history):
            if entry.revision <= revision:
                return entry.status
        raise LookupError(f"The history of task {self.id} begins after revision {revision}")

    def _metadata_at(self, revision: int, former: Sequence[FormerMetadata]) -> Any:
        """Return the metadata in their stored form; None if they are not known."""
        if revision >= (self.metadata_revision or 1):
            return self.document.get(f.METADATA)
        return next((each.stored for each in former if each.were_at(revision)), None)

    def _all_former_metadata(self) -> Sequence[FormerMetadata]:
        """Return the former metadata that are kept and, of an event, those that its change replaced."""
        kept, replaced = self.metadata_past, replaced_metadata(self.document)
        if replaced is None or (kept and kept[-1].revision == self.revision):
            return kept
        return [*kept, FormerMetadata(replaced, self.revision, self.updated_at)]

    def _not_known_before(self) -> set[str]:
        """Return the fields whose present value need not be that of a former state."""
        unknown, first = {*self.omitted, f.UPDATED_AT, f.ERROR} - {f.METADATA}, self.history[0]
        last = next((entry.status for entry in reversed(self.history) if not entry.status.is_final), Status.RETRY)
        if self.attempts > (0 if last in WAITING else 1):
            unknown.add(f.QUEUE)  # as in before()
        if first.revision > 1 or first.message == f.WAITS_FOR_STEP:
            unknown |= {f.QUEUE, f.PARENT_ID}
        return unknown

    def _find(self, name: str) -> Any:
        """Return the value of a field that the document does not have yet, if any."""
        if name in self.omitted:
            raise LookupError(f"{name!r} of task {self.id} is not known")
        return self._load_lazy().get(name) if name in f.LAZY else None

    def _load_lazy(self) -> Document:
        """Return the document with all of its fields."""
        if self._lazy is not None:
            fields = bson.decode(self._lazy, FAST_CODEC)
            if (misfit := _LAZY_RULES.misfit_among_present(fields)) is not None:
                raise rules.MisfitError(self.id, misfit)
            self.document.update(fields)
            self._lazy = None
        return self.document
