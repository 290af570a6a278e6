"""The reading side of the record: a task read from its document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from gql_api import values
from gql_api.record import decoders
from gql_api.record import fields as f
from gql_api.record.fields import FINAL, Status
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
            value = record._find(name)  # noqa: SLF001 - fields belong to the record
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
        super().__init__(name, default=default, decode=decoders.utc)


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
    hidden: Field[Arguments | None] = Field(f.HIDDEN, default=None, decode=decoders.arguments)
    """The arguments that the function receives, if clients see others."""
    metadata: Field[dict[str, Any]] = Field(f.METADATA, decode=values.load_finite)
    """The caller's own JSON object."""
    stored_metadata: Field[Any] = Field(f.METADATA, default=None)
    """The metadata in its form in MongoDB, which the paths of filters go by; see :mod:`gql_api.values`."""
    metadata_revision: Field[int | None] = Field(f.METADATA_REVISION, default=None)
    """The revision of the last change of the metadata; None when it has not changed."""
    metadata_past: Field[Sequence[FormerMetadata]] = Field(f.METADATA_PAST, default=(), decode=decoders.former_metadata)
    """The former metadata that are kept, the latest last."""
    metadata_tokens: Field[Sequence[str]] = Field(f.METADATA_TOKENS, default=())
    """The tokens of the last changes of the metadata by task functions."""

    result: Field[Any] = Field(f.RESULT, default=None, decode=values.load)
    """The return value of the task function, in kombu's JSON form."""
    chord_result: Field[Any] = Field(f.CHORD_RESULT, default=None, decode=values.load)
    """The result that is kept for the body of the task's chord, in kombu's JSON form."""
    error: Field[ErrorInfo | None] = Field(f.ERROR, default=None, decode=decoders.error)
    """The reason of a failure, a revocation or a retry."""
    error_type: Field[str | None] = Field(f.ERROR, default=None, decode=decoders.error_type)
    """The type of that error, which filters read."""
    progress: Field[Progress | None] = Field(f.PROGRESS, default=None, decode=decoders.progress)
    """The last report of the running or last attempt."""
    custom_state: Field[tuple[str, Any] | None] = Field(f.CUSTOM_STATE, default=None, decode=decoders.custom_state)
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
    message: Field[MessageParts] = Field(f.MESSAGE_PARTS, default=MessageParts(), decode=decoders.message_parts)
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
                at=decoders.utc(entry[f.AT]),
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

    def with_metadata(self, metadata: dict[str, Any]) -> TaskRecord:
        """Return the task as it would be with other metadata."""
        return TaskRecord({**self.whole_document(), f.METADATA: values.dump(metadata)}, self.omitted - {f.METADATA})

    def whole_document(self) -> Document:
        """Return the document with all of its fields."""
        if self._lazy is not None:
            fields = bson.decode(self._lazy, FAST_CODEC)
            if (misfit := _LAZY_RULES.misfit_among_present(fields)) is not None:
                raise rules.MisfitError(self.id, misfit)
            self.document.update(fields)
            self._lazy = None
        return self.document

    def _find(self, name: str) -> Any:
        """Return the value of a field that the document does not have yet, if any."""
        if name in self.omitted:
            raise LookupError(f"{name!r} of task {self.id} is not known")
        return self.whole_document().get(name) if name in f.LAZY else None
