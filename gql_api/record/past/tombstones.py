"""Deletions: the filter of deletable tasks, and the tombstones that keep late messages from reviving deleted ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pymongo import UpdateOne

from gql_api.record import fields as f
from gql_api.record.fields import FINAL_NAMES, Status
from gql_api.record.reads import Document, TaskRecord
from gql_api.record.statistics import durations
from gql_api.record.writes import NOW, literal

# The fields of a deleted task that its tombstone keeps, for those who could see it: none that has anything of its data.
# Its end is kept beside them, for statistics that have not counted it yet.
_KEPT = (f.OWNER, f.TENANT, f.NAME, f.QUEUE, f.PARENT_ID, f.CREATED_AT)
_NOT_KEPT = frozenset({f.METADATA, f.ERROR, f.FINISHED_AT, f.UPDATED_AT})


def save_tombstones(documents: Sequence[Document]) -> list[UpdateOne]:
    """Return the writes that leave tombstones. Run before the tasks are deleted: no late message may revive them."""
    return [UpdateOne({f.ID: each[f.ID]}, [{"$set": _tombstone(each)}], upsert=True) for each in documents]


def _tombstone(document: Document) -> Document:
    kept = {name: literal(document[name]) for name in (*_KEPT, durations.ENDED) if document.get(name) is not None}
    return {**kept, f.DELETED_AT: NOW}


def remains_in(tombstone: Document) -> TaskRecord:
    """Return what is left of a deleted task, to be compared with a visibility; it omits what is not known any more.

    Tombstones of an earlier version have the id and the time only.
    """
    unknown = _NOT_KEPT if f.CREATED_AT in tombstone else _NOT_KEPT.union(_KEPT)
    # A record has these, and no visibility depends on them.
    return TaskRecord({**tombstone, f.REVISION: 1, f.STATUS: Status.SUCCESS}, unknown)


def tombstones_of(task_ids: Sequence[str]) -> Document:
    """Return the filter that finds the tombstones of some tasks."""
    return {f.ID: {"$in": list(task_ids)}}


def tombstones_since(time: datetime) -> Document:
    """Return the filter that finds the tombstones from a time on."""
    return {f.DELETED_AT: {"$gte": time}}


def tombstone_from(document: Document) -> tuple[str, datetime]:
    """Read the task id and the time of a tombstone."""
    return document[f.ID], document[f.DELETED_AT]


def with_deletion_times(
    documents: Sequence[Document], tombstones: Sequence[Document]
) -> list[tuple[Document, datetime]]:
    """Pair deleted tasks with the times of their tombstones. A task whose tombstone has expired is left out."""
    last = {
        document[f.ID]: {name: value for name, value in document.items() if name != durations.ENDED}
        for document in documents
    }
    return [(last[task_id], at) for task_id, at in map(tombstone_from, tombstones)]


def deletable(task_ids: Sequence[str]) -> Document:
    """Return the filter that finds those of some tasks that may be deleted: they and what follows them have ended."""
    return {f.ID: {"$in": list(task_ids)}, f.STATUS: {"$in": FINAL_NAMES}, f.DUE_AT: None}


def chords_of(documents: Sequence[Document]) -> list[str]:
    """Return the chords whose members are among some tasks."""
    return list({document[f.CHORD_ID] for document in documents if document.get(f.CHORD_ID) is not None})


def without_members_of(documents: Sequence[Document], unfinished: Sequence[Document]) -> list[Document]:
    """Leave out the members of unfinished chords, whose bodies need their results."""
    chord_ids = {chord[f.ID] for chord in unfinished}
    return [document for document in documents if document.get(f.CHORD_ID) not in chord_ids]


EARLIEST_TOMBSTONE = [(f.DELETED_AT, 1)]
