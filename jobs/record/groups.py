"""Celery's saved groups: which results belong together, kept beside the tasks until they expire."""

from __future__ import annotations

from typing import Any

from jobs import values
from jobs.record import fields as f
from jobs.record.reads import Document
from jobs.record.writes import Write

_MEMBERS = "members"


def save(group_id: str, members: Any) -> Write:
    """Keep the shape of a group, Celery's ``GroupResult.as_tuple`` in JSON. Run as an upsert."""
    return {f.ID: group_id}, [{"$set": {_MEMBERS: {"$literal": values.dump(members)}, f.UPDATED_AT: "$$NOW"}}]


def members_of(document: Document) -> Any:
    """Read what :func:`save` kept."""
    return values.load(document[_MEMBERS])
