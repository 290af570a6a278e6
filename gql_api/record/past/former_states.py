"""The states that a task had before its present one, as far as its record knows them.

A list that a task has left, or comes into, is found by comparing the task as it is with the task as it was. A field
whose former value is not known is omitted from the former record, so that it cannot be taken for the present one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from gql_api.record import decoders
from gql_api.record import fields as f
from gql_api.record.fields import WAITING, Status
from gql_api.record.model import FormerMetadata
from gql_api.record.reads import Document, TaskRecord


def replaced_metadata(document: Document) -> Document | None:
    """Return the metadata that the last change of a record has replaced; None if it changed others, or none is kept."""
    if document.get(f.METADATA_REVISION) != document[f.REVISION]:
        return None
    if (before := document.get(f.METADATA_BEFORE)) is not None:
        return before if isinstance(before, dict) else None
    former = decoders.former_metadata(document.get(f.METADATA_PAST))
    return former[-1].stored if former and former[-1].revision == document[f.REVISION] else None


def state_before(record: TaskRecord) -> TaskRecord | None:
    """Return the task as it was before the change that made this revision; None when that created the task.

    The result has the fields that filters read, except that it omits those whose former value is not known.

    Raises:
        LookupError: the record does not know the former status.
    """
    if record.revision == 1:
        return None
    document, unknown = dict(record.whole_document()), {*record.omitted, f.UPDATED_AT}
    last = document[f.HISTORY][-1]
    if last[f.REVISION] == record.revision:
        document[f.STATUS] = document[f.HISTORY][-2][f.STATUS]
    status = Status(document[f.STATUS])
    if not status.is_final:
        document.pop(f.FINISHED_AT, None)
    if last[f.REVISION] == record.revision:
        _undo_error(record, document, status, unknown)
    if document.get(f.METADATA_REVISION) == record.revision:
        replaced = replaced_metadata(document)
        if replaced is None:
            unknown.add(f.METADATA)
        else:
            document[f.METADATA] = replaced
            unknown.discard(f.METADATA)
    # A retry or a replacement may go to another queue, also without a revision of its own.
    began_before = record.attempts > (1 if status in WAITING and record.status is Status.STARTED else 0)
    if began_before and (status in WAITING or record.status in WAITING):
        unknown.add(f.QUEUE)
    if len(document[f.HISTORY]) > 1 and document[f.HISTORY][-2].get(f.MESSAGE) == f.WAITS_FOR_STEP:
        # A later step of a chain that was sent: its message may go elsewhere than was expected.
        unknown |= {f.QUEUE, f.PARENT_ID}
    return TaskRecord(document, frozenset(unknown))


def _undo_error(record: TaskRecord, document: Document, former: Status, unknown: set[str]) -> None:
    """Give a document the error that the task had with a former status, which the last change has ended."""
    if former is Status.STARTED or not _may_have_had_error(record):
        document.pop(f.ERROR, None)
        unknown.discard(f.ERROR)
    elif record.status not in WAITING or record.status is Status.RETRY:
        unknown.add(f.ERROR)


def _may_have_had_error(record: TaskRecord) -> bool:
    """Return whether the task may have had an error before its last status: after an attempt, until the next begins."""
    entries = record.stored_history
    return entries[0][f.REVISION] > 1 or any(entry[f.STATUS] == Status.RETRY for entry in entries[:-1])


def with_former_metadata(record: TaskRecord, since: datetime) -> Iterator[tuple[TaskRecord, datetime]]:
    """Yield the task with each of the metadata that it had at or after a time and does not have any more, if kept.

    Each comes with the time until which it had them.

    The other fields have their present values, except that those are omitted whose former value is not known.
    """
    document, unknown = record.whole_document(), _not_known_before(record) | {f.FINISHED_AT}
    for former in record.metadata_past:
        if former.until >= since:
            yield TaskRecord({**document, f.METADATA: former.stored}, frozenset(unknown)), former.until


def states_since(record: TaskRecord, revision: int, at: datetime) -> Iterator[TaskRecord]:
    """Yield the task in each state, other than the present, that it may have had from a revision or a time on.

    A state is a status and metadata. The other fields have their present values, except that those are omitted
    whose former value is not known.

    Args:
        record: the task as it is.
        revision: the revision; the state that the task had with it is the first.
        at: the time; the same is true of it.

    Raises:
        LookupError: the record does not know its history that far back.
    """
    document, unknown = record.whole_document(), _not_known_before(record)
    former, known = _all_former_metadata(record), set[tuple[Status, int]]()
    for first, end, ended in _stretches(record, former):
        if end <= revision and ended < at:
            continue
        status, metadata = _status_at(record, first), _metadata_at(record, first, former)
        if (status, id(metadata)) in known:
            continue
        known.add((status, id(metadata)))
        state = {**document, f.STATUS: status.value, f.METADATA: metadata}
        if not status.is_final:
            state.pop(f.FINISHED_AT, None)
        yield TaskRecord(state, frozenset(unknown if metadata is not None else unknown | {f.METADATA}))


def _stretches(record: TaskRecord, former: Sequence[FormerMetadata]) -> Iterator[tuple[int, int, datetime]]:
    """Yield the first revision of each former state, the first one after it, and a time at which it had ended."""
    times = {entry.revision: entry.at for entry in record.history}
    times |= {each.revision: each.until for each in former} | {record.revision: record.updated_at}
    bounds = {1, *times, record.metadata_revision or 1}
    bounds |= {each.revision - 1 if each.first is None else each.first for each in former}
    changes = sorted(times.items())
    for first, end in itertools.pairwise(sorted(bound for bound in bounds if 0 < bound <= record.revision)):
        yield first, end, next(time for revision, time in changes if revision >= end)


def _status_at(record: TaskRecord, revision: int) -> Status:
    for entry in reversed(record.history):
        if entry.revision <= revision:
            return entry.status
    raise LookupError(f"The history of task {record.id} begins after revision {revision}")


def _metadata_at(record: TaskRecord, revision: int, former: Sequence[FormerMetadata]) -> Any:
    """Return the metadata in their stored form; None if they are not known."""
    if revision >= (record.metadata_revision or 1):
        return record.document.get(f.METADATA)
    return next((each.stored for each in former if each.were_at(revision)), None)


def _all_former_metadata(record: TaskRecord) -> Sequence[FormerMetadata]:
    """Return the former metadata that are kept and, of an event, those that its change replaced."""
    kept, replaced = record.metadata_past, replaced_metadata(record.document)
    if replaced is None or (kept and kept[-1].revision == record.revision):
        return kept
    return [*kept, FormerMetadata(replaced, record.revision, record.updated_at)]


def _not_known_before(record: TaskRecord) -> set[str]:
    """Return the fields whose present value need not be that of a former state."""
    unknown, first = {*record.omitted, f.UPDATED_AT, f.ERROR} - {f.METADATA}, record.history[0]
    last = next((entry.status for entry in reversed(record.history) if not entry.status.is_final), Status.RETRY)
    if record.attempts > (0 if last in WAITING else 1):
        unknown.add(f.QUEUE)  # as in state_before()
    if first.revision > 1 or first.message == f.WAITS_FOR_STEP:
        unknown |= {f.QUEUE, f.PARENT_ID}
    return unknown
