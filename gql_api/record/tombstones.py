"""Deletions: the filter of deletable tasks, and the tombstones that keep late messages from reviving deleted ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pymongo import UpdateOne

from gql_api.record import fields as f
from gql_api.record.fields import FINAL_NAMES
from gql_api.record.reads import Document
from gql_api.record.writes import NOW


def save_tombstones(task_ids: Sequence[str]) -> list[UpdateOne]:
    """Return the writes that leave tombstones. Run before the tasks are deleted: no late message may revive them."""
    return [UpdateOne({f.ID: task_id}, [{"$set": {f.DELETED_AT: NOW}}], upsert=True) for task_id in task_ids]


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
    last = {document[f.ID]: document for document in documents}
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
