"""An entry of the audit log and its document. Entries are inserted and read; nothing updates or deletes one.

MongoDB itself removes entries, when the time of their retention is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from bson import ObjectId
from bson.errors import InvalidId
from pymongo import IndexModel

from gql_api.record import fields as f
from gql_api.record.reads import Document
from gql_api.record.writes import storable

AUDIT_LOG = "audit_log"
MAX_IDS = 100
"""How many ids of tasks an entry has at most."""
MAX_TEXT = 4_000
"""How many characters a filter in an entry has at most."""
MAX_NAME = 255
"""How many characters an id or another text of an entry has at most."""

_AT = "at"
_CALL_ID = "call_id"
_OPERATION = "operation"
_OUTCOME = "outcome"
_SUBJECT = "subject"
_TENANT = "tenant"
_CREDENTIAL = "token_id"
_ADDRESS = "address"
_TASK_IDS = "task_ids"
_TARGET = "target"
_FILTER = "filter"
_DRY_RUN = "dry_run"
_CODES = "codes"
_MATCHED = "matched"
_CHANGED = "changed"
_CREATED = "created"

_ELLIPSIS = "…"
# MongoDB has no longer time for an index. 68 years are forever.
_FOREVER_SECONDS = 2**31 - 1
_DAY_SECONDS = 86_400
_NEWEST_FIRST = [(_AT, -1), (f.ID, -1)]

INDEXES = [
    IndexModel(_NEWEST_FIRST),
    IndexModel([(_SUBJECT, 1), *_NEWEST_FIRST]),
    IndexModel([(_TENANT, 1), *_NEWEST_FIRST], partialFilterExpression={_TENANT: {"$type": "string"}}),
    IndexModel([(_TASK_IDS, 1), *_NEWEST_FIRST]),
]


class AuditOutcome(StrEnum):
    """The outcome of a call."""

    STARTED = "STARTED"
    SUCCEEDED = "SUCCEEDED"
    REFUSED = "REFUSED"
    FAILED = "FAILED"


_OUTCOMES = frozenset(map(str, AuditOutcome))


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A call of a mutation, or the beginning of a bulk call. Texts that are too long are cut where it is stored.

    Attributes:
        operation: the name of the field.
        outcome: how it ended.
        call_id: the same in the entries of one call.
        subject: the principal who called.
        tenant: the tenant of the principal.
        token_id: the id of the principal's token.
        address: the IP address of the client.
        task_ids: the tasks that it named or created.
        target: what else it named, like the id of a token.
        filter: the filter of a bulk call, as JSON.
        dry_run: whether a bulk call only counted.
        codes: the codes of its errors.
        matched: how many tasks a bulk call matched.
        changed: how many tasks it changed.
        created: how many tasks it created.
    """

    operation: str
    outcome: AuditOutcome
    call_id: str
    subject: str | None = None
    tenant: str | None = None
    token_id: str | None = None
    address: str | None = None
    task_ids: Sequence[str] = ()
    target: str | None = None
    filter: str | None = None
    dry_run: bool | None = None
    codes: Sequence[str] = ()
    matched: int | None = None
    changed: int | None = None
    created: int | None = None


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry with its id, and the time of MongoDB at which it was stored."""

    id: str
    at: datetime
    entry: AuditEntry


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """The conditions on entries; None matches all. ``tenant`` limits an administrator to one tenant."""

    tenant: str | None = None
    subjects: Sequence[str] | None = None
    operations: Sequence[str] | None = None
    token_ids: Sequence[str] | None = None
    outcomes: Sequence[AuditOutcome] | None = None
    task_id: str | None = None
    since: datetime | None = None
    before: datetime | None = None


def document(entry: AuditEntry) -> Document:
    """Return what is stored of an entry, without its time."""
    fields = {
        f.ID: ObjectId(),
        _CALL_ID: entry.call_id,
        _OPERATION: entry.operation,
        _OUTCOME: entry.outcome,
        _SUBJECT: _cut(entry.subject),
        _TENANT: _cut(entry.tenant),
        _CREDENTIAL: _cut(entry.token_id),
        _ADDRESS: _cut(entry.address),
        _TASK_IDS: [_cut(task_id) for task_id in entry.task_ids[:MAX_IDS]] or None,
        _TARGET: _cut(entry.target),
        _FILTER: _cut(entry.filter, MAX_TEXT),
        _DRY_RUN: entry.dry_run,
        _CODES: list(entry.codes) or None,
        _MATCHED: entry.matched,
        _CHANGED: entry.changed,
        _CREATED: entry.created,
    }
    return {name: value for name, value in fields.items() if value is not None}


def stored_at(documents: Sequence[Document], at: datetime) -> list[Document]:
    """Return the documents of entries with the time at which they are stored."""
    return [{**each, _AT: at} for each in documents]


def entry_from(stored: Document) -> StoredEntry:
    """Read a stored entry. A later version may have stored an outcome that this one does not know."""
    outcome = stored[_OUTCOME]
    entry = AuditEntry(
        operation=stored[_OPERATION],
        outcome=AuditOutcome(outcome) if outcome in _OUTCOMES else AuditOutcome.FAILED,
        call_id=stored[_CALL_ID],
        subject=stored.get(_SUBJECT),
        tenant=stored.get(_TENANT),
        token_id=stored.get(_CREDENTIAL),
        address=stored.get(_ADDRESS),
        task_ids=stored.get(_TASK_IDS) or (),
        target=stored.get(_TARGET),
        filter=stored.get(_FILTER),
        dry_run=stored.get(_DRY_RUN),
        codes=stored.get(_CODES) or (),
        matched=stored.get(_MATCHED),
        changed=stored.get(_CHANGED),
        created=stored.get(_CREATED),
    )
    return StoredEntry(str(stored[f.ID]), stored[_AT], entry)


def page(query: AuditQuery, after: tuple[datetime, str] | None, limit: int) -> tuple[Document, list[Any], int]:
    """Return the filter, the sort keys and the limit that find the entries after a position, the newest first.

    Raises:
        ValueError: the position has an id that no entry has.
    """
    conditions = {
        _TENANT: query.tenant,
        _SUBJECT: _any_of(query.subjects),
        _OPERATION: _any_of(query.operations),
        _CREDENTIAL: _any_of(query.token_ids),
        _OUTCOME: _any_of(query.outcomes),
        _TASK_IDS: _cut(query.task_id),
    }
    bounds: list[Document] = [{name: value} for name, value in conditions.items() if value is not None]
    if query.since is not None:
        bounds.append({_AT: {"$gte": query.since}})
    if query.before is not None:
        bounds.append({_AT: {"$lt": query.before}})
    if after is not None:
        at, entry_id = after
        try:
            beyond = ObjectId(entry_id)
        except InvalidId as error:
            raise ValueError(f"no entry has the id {entry_id!r}") from error
        bounds.append({_AT: {"$lte": at}, "$or": [{_AT: {"$lt": at}}, {f.ID: {"$lt": beyond}}]})
    return ({"$and": bounds} if bounds else {}), _NEWEST_FIRST, limit


def expiry_index(retention_days: float) -> IndexModel:
    """Return the index by which MongoDB removes old entries; with 0 days it keeps them for 68 years."""
    return IndexModel([(_AT, 1)], expireAfterSeconds=_seconds(retention_days))


def expiry_command(retention_days: float) -> Document:
    """Return the command that gives the present index another time."""
    index = {"keyPattern": {_AT: 1}, "expireAfterSeconds": _seconds(retention_days)}
    return {"collMod": AUDIT_LOG, "index": index}


def _seconds(days: float) -> int:
    return min(round(days * _DAY_SECONDS), _FOREVER_SECONDS) or _FOREVER_SECONDS


def _any_of(values: Sequence[str] | None) -> Document | None:
    """Return the condition that a text is one of some, in the form in which texts are stored."""
    return None if values is None else {"$in": [_cut(each) for each in values]}


def _cut(text: str | None, length: int = MAX_NAME) -> str | None:
    if text is None:
        return None
    stored = storable(text)
    return stored if len(stored) <= length else stored[: length - 1] + _ELLIPSIS
