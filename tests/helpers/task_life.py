"""The life of a task as MongoDB would have it, without MongoDB: its document, changed as the writes of records do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import bson

from gql_api import events, values
from gql_api.events import Deletion
from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.reads import FAST_CODEC, TaskRecord

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_MAX_PAST = 5


class Clock:
    """The clock of MongoDB, which goes on by a second for each change."""

    def __init__(self) -> None:
        self.now = BEGAN

    def tick(self) -> datetime:
        """Return the next time."""
        self.now += timedelta(seconds=1)
        return self.now


class TaskLife:
    """A task from its creation on."""

    def __init__(self, task_id: str, clock: Clock, metadata: dict[str, Any], **others: Any) -> None:
        self._clock, at = clock, clock.tick()
        self.document: dict[str, Any] = {
            f.ID: task_id,
            f.REVISION: 1,
            f.STATUS: Status.QUEUED.value,
            f.NAME: "a",
            f.QUEUE: "a",
            f.PRIORITY: 0,
            f.ROOT_ID: task_id,
            f.ATTEMPTS: 0,
            f.ARGS: [],
            f.KWARGS: {},
            f.METADATA: values.dump(metadata),
            f.CREATED_AT: at,
            f.UPDATED_AT: at,
            f.HISTORY: [{f.REVISION: 1, f.STATUS: Status.QUEUED.value, f.AT: at}],
            **others,
        }

    @property
    def is_final(self) -> bool:
        """True once the task has ended."""
        return Status(self.document[f.STATUS]).is_final

    def next_status(self, step: str) -> Status | None:
        """Return the status after a step: start, requeue, fail or end; None if it is not the time for it."""
        runs = self.document[f.STATUS] == Status.STARTED
        if self.is_final:
            return None
        if step in {"end", "fail"}:
            return Status.SUCCESS if step == "end" else Status.FAILURE
        if runs:
            return Status.RETRY if step == "requeue" else None
        return Status.STARTED if step == "start" else None

    def progress(self) -> None:
        """Let a change come that no filter reads."""
        self.document = {**self.document, f.REVISION: self.document[f.REVISION] + 1, f.UPDATED_AT: self._clock.tick()}

    def move(self, status: Status, queue: str | None = None, error: str = "E") -> None:
        """Change the status, maybe the queue, and the error as far as the status has one."""
        self.progress()
        entry = {f.REVISION: self.document[f.REVISION], f.STATUS: status.value, f.AT: self.document[f.UPDATED_AT]}
        history = [*self.document[f.HISTORY], entry][-f.HISTORY_LENGTH :]
        self.document |= {f.STATUS: status.value, f.HISTORY: history}
        if status is Status.STARTED:
            self.document[f.ATTEMPTS] += 1
        if status.is_final:
            self.document[f.FINISHED_AT] = self.document[f.UPDATED_AT]
        if queue is not None:
            self.document[f.QUEUE] = queue
        self.document.pop(f.ERROR, None)
        if status in {Status.RETRY, Status.FAILURE}:
            self.document[f.ERROR] = {f.TYPE: error, f.MESSAGE: "no"}

    def replace_metadata(self, metadata: dict[str, Any], *, knows_first: bool = True) -> None:
        """Replace the metadata; without ``knows_first``, as a process of an earlier version does."""
        first = self.document.get(f.METADATA_REVISION) or 1
        entry = {f.METADATA: self.document[f.METADATA], f.FIRST_REVISION: first}
        self.progress()
        entry |= {f.REVISION: self.document[f.REVISION], f.AT: self.document[f.UPDATED_AT]}
        if not knows_first:
            del entry[f.FIRST_REVISION]
        past = [*self.document.get(f.METADATA_PAST, []), entry][-_MAX_PAST:]
        self.document |= {
            f.METADATA: values.dump(metadata),
            f.METADATA_REVISION: self.document[f.REVISION],
            f.METADATA_PAST: past,
        }

    def stored(self) -> TaskRecord:
        """Return the record as it is read from MongoDB."""
        return TaskRecord(bson.decode(bson.encode(self.document), FAST_CODEC))

    def event(self) -> TaskRecord:
        """Return the record as the event of the last change has it."""
        record = events.decode(events.encode(self.document))
        assert isinstance(record, TaskRecord)
        return record

    def deletion(self) -> Deletion:
        """Return the event of the deletion of the task."""
        left_out = {f.HISTORY, f.ARGS, f.KWARGS, f.METADATA_PAST}
        document = {name: value for name, value in self.document.items() if name not in left_out}
        deletion = events.decode(events.deleted(document, self._clock.tick()))
        assert isinstance(deletion, Deletion)
        return deletion
