"""Locks that one worker at a time has, for scans that all workers need not repeat."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pymongo.errors import DuplicateKeyError

from gql_api.record import due, fields

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend


def take(backend: Backend, name: str, now: datetime, duration: timedelta) -> bool:
    """Take a lock for some time, and return whether no other worker has it."""
    filter_, update = due.take_leader_lock(name, now, duration.total_seconds())
    try:
        backend.database[fields.LEADER_LOCKS].update_one(filter_, update, upsert=True)
    except DuplicateKeyError:
        return False
    return True


def postpone(backend: Backend, name: str, duration: timedelta) -> None:
    """Keep all workers from taking a lock, which this worker has, for so much longer."""
    filter_, update = due.postpone_leader_lock(name, duration.total_seconds())
    backend.database[fields.LEADER_LOCKS].update_one(filter_, update)
