"""Deletions: the filter of deletable tasks, and the tombstones that keep late messages from reviving deleted ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gql_api.record import fields as f
from gql_api.record.fields import FINAL_NAMES
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, Write


def save_tombstone(task_id: str) -> Write:
    """Store the tombstone of a task, before the task is deleted: no late message may revive it. Run as an upsert."""
    return {f.ID: task_id}, [{"$set": {f.DELETED_AT: NOW}}]


def tombstones_of(task_ids: Sequence[str]) -> Document:
    """Return the filter that finds the tombstones of some tasks."""
    return {f.ID: {"$in": list(task_ids)}}


def tombstones_since(time: datetime) -> Document:
    """Return the filter that finds the tombstones from a time on."""
    return {f.DELETED_AT: {"$gte": time}}


def tombstone_from(document: Document) -> tuple[str, datetime]:
    """Read the task id and the time of a tombstone."""
    return document[f.ID], document[f.DELETED_AT]


def deletable(task_ids: Sequence[str]) -> Document:
    """Return the filter that finds those of some tasks that may be deleted."""
    return {f.ID: {"$in": list(task_ids)}, f.STATUS: {"$in": FINAL_NAMES}}


EARLIEST_TOMBSTONE = [(f.DELETED_AT, 1)]
