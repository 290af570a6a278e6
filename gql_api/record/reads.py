"""The way back: a task record read from its document."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Generic, Self, TypeVar, cast, overload

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.fields import FINAL, WAITING, Status
from gql_api.record.model import ErrorInfo, MessageParts, NewTask, Progress, Transition

Document = dict[str, Any]

# Times carry their offset; one that Python has no word for is read as the nearest that it has.
CODEC: CodecOptions[Document] = CodecOptions(tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_CLAMP)
# For documents that are read through TaskRecord only, which adds the offset to the times that are asked for.
FAST_CODEC: CodecOptions[Document] = CODEC.with_options(tz_aware=False)

# By their names, sooner than the enum finds its members.
_STATUSES = {str(status): status for status in Status}
_FINAL = frozenset(map(str, FINAL))

Moment = TypeVar("Moment", datetime, datetime | None)


class Time(Generic[Moment]):
    """A time of a record.

    Read from a record it has its offset. Read from the class, as in ``TaskRecord.created_at``, it is the attribute
    itself, whose :meth:`stored` takes a third of the time.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, record: None, owner: type) -> Self: ...
    @overload
    def __get__(self, record: TaskRecord, owner: type) -> Moment: ...
    def __get__(self, record: TaskRecord | None, owner: type) -> Self | Moment:
        """Read it."""
        return self if record is None else _utc(self.stored(record))

    def stored(self, record: TaskRecord) -> Moment:
        """Read it as the document has it: in UTC, and mostly without an offset."""
        return cast("Moment", record._get(self._name))  # noqa: SLF001 - an attribute is part of its class


class TaskRecord:
    """A task as its document tells it.

    ``omitted`` names the fields that are not known, mostly because they were too large for the event this record came
    from; reading one of them raises :class:`LookupError`, for an absent value and an unknown one must not be taken for
    each other. ``folded`` are the ``fields.LAZY`` of the document, as BSON: they are decoded when one is asked for.
    """

    due_at: Time[datetime | None] = Time(f.DUE_AT)
    """When somebody has to look after it; see ``fields.DUE_AT``."""
    expires_at: Time[datetime | None] = Time(f.EXPIRES_AT)
    """When it is revoked unless it has been started."""
    scheduled_for: Time[datetime | None] = Time(f.SCHEDULED_FOR)
    """The time that its caller asked for."""
    cancel_requested_at: Time[datetime | None] = Time(f.CANCEL_REQUESTED_AT)
    """When its end was asked for."""
    created_at: Time[datetime] = Time(f.CREATED_AT)
    """When the record was made."""
    updated_at: Time[datetime] = Time(f.UPDATED_AT)
    """When the latest revision was stored."""
    started_at: Time[datetime | None] = Time(f.STARTED_AT)
    """When the running or last attempt began."""
    finished_at: Time[datetime | None] = Time(f.FINISHED_AT)
    """When the task reached its final state."""

    def __init__(self, document: Document, omitted: frozenset[str] = frozenset(), folded: bytes | None = None) -> None:
        self._document = document
        self._folded = folded
        self.omitted = omitted
        self.id: str = document[f.ID]
        self.revision: int = document[f.REVISION]
        self.status = _STATUSES[document[f.STATUS]]

    def __repr__(self) -> str:
        return f"<TaskRecord {self.id} {self.status} at revision {self.revision}>"

    @property
    def name(self) -> str:
        """The Celery task name."""
        return str(self._document[f.NAME])

    @property
    def is_final(self) -> bool:
        """Whether the task will never change again."""
        return self._document[f.STATUS] in _FINAL

    @property
    def args(self) -> list[Any]:
        """The positional arguments, as JSON values."""
        return list(self._value(f.ARGS))

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments, as JSON values."""
        return dict(self._value(f.KWARGS))

    @property
    def metadata(self) -> dict[str, Any]:
        """The caller's own JSON object."""
        return dict(self._value(f.METADATA))

    @property
    def stored_metadata(self) -> Any:
        """The metadata as MongoDB has it, which is what paths of filters reach into; see :mod:`gql_api.values`."""
        return self._get(f.METADATA)

    @property
    def result(self) -> Any:
        """What the task function returned, in kombu's JSON form."""
        return self._value(f.RESULT)

    @property
    def error(self) -> ErrorInfo | None:
        """Why the task failed, was revoked or is to be retried."""
        stored = self._get(f.ERROR)
        if stored is None:
            return None
        return ErrorInfo(
            type=stored[f.TYPE],
            message=stored[f.MESSAGE],
            module=stored[f.MODULE],
            args=values.load(stored[f.ARGS]),
            traceback=stored[f.TRACEBACK],
        )

    @property
    def progress(self) -> Progress | None:
        """The last report of the running or last attempt."""
        stored = self._get(f.PROGRESS)
        if stored is None:
            return None
        return Progress(stored[f.CURRENT], stored[f.TOTAL], stored[f.MESSAGE], values.load(stored[f.DATA]))

    @property
    def custom_state(self) -> tuple[str, Any] | None:
        """The name and meta of a state of the task function's own, while it is the latest."""
        stored = self._get(f.CUSTOM_STATE)
        return None if stored is None else (stored[f.NAME], values.load(stored[f.DATA]))

    @property
    def children(self) -> list[Any]:
        """The results of the tasks it sent, as Celery's ``ResultBase.as_tuple`` in JSON."""
        return self._value(f.CHILDREN) or []

    @property
    def forgotten(self) -> bool:
        """Whether the result was dropped by ``AsyncResult.forget``."""
        return bool(self._get(f.FORGOTTEN))

    @property
    def has_chord_result(self) -> bool:
        """Whether its result, which it ignores, is kept for the body of its chord."""
        return f.CHORD_RESULT in self._document

    @property
    def chord_result(self) -> Any:
        """The result that is kept for the body of its chord, in kombu's JSON form."""
        return self._value(f.CHORD_RESULT)

    @property
    def attempts(self) -> int:
        """How often a worker has started it."""
        return int(self._document[f.ATTEMPTS])

    @property
    def lost_attempts(self) -> int:
        """How many of them ended with the loss of their worker."""
        return int(self._document.get(f.LOST_ATTEMPTS, 0))

    @property
    def claim(self) -> str | None:
        """The mark of the claim that holds it."""
        claim: str | None = self._document.get(f.CLAIM)
        return claim

    @property
    def cancel_reason(self) -> str | None:
        """Why its end was asked for while it ran."""
        reason: str | None = self._document.get(f.CANCEL_REASON)
        return reason

    @property
    def owner(self) -> str | None:
        """Whose task it is."""
        owner: str | None = self._document.get(f.OWNER)
        return owner

    @property
    def idempotency_key(self) -> str | None:
        """The key it was created with, until that expires."""
        key: str | None = self._document.get(f.IDEMPOTENCY_KEY)
        return key

    @property
    def input_digest(self) -> str | None:
        """The digest of the input that came with the key."""
        digest: str | None = self._document.get(f.INPUT_DIGEST)
        return digest

    @property
    def replay_of(self) -> str | None:
        """The task that it repeats."""
        replay_of: str | None = self._document.get(f.REPLAY_OF)
        return replay_of

    @property
    def metadata_revision(self) -> int | None:
        """The revision that its metadata was last changed at; None when it never was."""
        revision: int | None = self._document.get(f.METADATA_REVISION)
        return revision

    @property
    def metadata_marks(self) -> list[str]:
        """The marks of the last changes of its metadata."""
        return self._document.get(f.METADATA_MARKS) or []

    @property
    def message(self) -> MessageParts:
        """What its message has beside what stands in the record."""
        stored = values.load(self._document.get(f.MESSAGE_PARTS)) or {}
        return MessageParts(**stored)

    def as_sent(self) -> NewTask:
        """What its next message tells, callbacks, chain and chord included."""
        return NewTask(
            id=self.id,
            name=self.name,
            args=self.args,
            kwargs=self.kwargs,
            queue=self.queue,
            priority=self.priority,
            parent_id=self.parent_id,
            root_id=self.root_id,
            message=self.message,
        )

    @property
    def queue(self) -> str:
        """The queue it was sent to."""
        return str(self._get(f.QUEUE))

    @property
    def priority(self) -> int:
        """Celery's on Redis: 0 first, 9 last."""
        return int(self._document[f.PRIORITY])

    @property
    def worker(self) -> str | None:
        """The worker that runs it, or ran it last."""
        worker: str | None = self._get(f.WORKER)
        return worker

    @property
    def parent_id(self) -> str | None:
        """The task that sent it."""
        parent_id: str | None = self._get(f.PARENT_ID)
        return parent_id

    @property
    def root_id(self) -> str:
        """The task that the whole tree began with; its own id when it is that one."""
        return str(self._document[f.ROOT_ID])

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
            )
            for entry in self._get(f.HISTORY)
        ]

    def before(self) -> TaskRecord | None:
        """The task as it was before the change that made this revision; None when that made the task.

        It tells what a filter may ask for. What has changed and was not kept is omitted.

        Raises:
            LookupError: the record does not even tell the status.
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
        if document.get(f.METADATA_REVISION) == self.revision:
            unknown.add(f.METADATA)
        # What replaces a task, or repeats it, may go to another queue, also without a revision of its own.
        began_before = self.attempts > (1 if status in WAITING and self.status is Status.STARTED else 0)
        if began_before and (status in WAITING or self.status in WAITING):
            unknown.add(f.QUEUE)
        return TaskRecord(document, frozenset(unknown))

    def _get(self, name: str) -> Any:
        if name in self.omitted:
            raise LookupError(f"{name!r} of task {self.id} is not known")
        value = self._document.get(name)
        return self._load_lazy().get(name) if value is None and name in f.LAZY else value

    def _load_lazy(self) -> Document:
        """The document with all that it has."""
        if self._folded is not None:
            self._document.update(bson.decode(self._folded, FAST_CODEC))
            self._folded = None
        return self._document

    def _value(self, name: str) -> Any:
        return values.load(self._get(name))


def _utc(time: Moment) -> Moment:
    """A time with its offset, which :data:`FAST_CODEC` leaves out."""
    return time.replace(tzinfo=UTC) if isinstance(time, datetime) and time.tzinfo is None else time
