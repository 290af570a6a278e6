"""The writes that set a record that does not fit aside, and that repair what can be derived."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gql_api.record import fields as f
from gql_api.record.fields import Status
from gql_api.record.fitness import rules
from gql_api.record.fitness.rules import Misfit
from gql_api.record.model import MAX_INT, priority_of
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, REMOVE, Filter, Write, literal

_PROBLEM = "problem"


def set_aside(task_id: Any, problem: str) -> Write:
    """Take a record away from recovery, which goes by the times that are moved, until it is repaired."""
    kept = {f.DUE_AT: f"${f.DUE_AT}", f.EXPIRES_AT: f"${f.EXPIRES_AT}", f.AT: NOW, _PROBLEM: literal(problem)}
    return {f.ID: task_id}, [{"$set": {f.SET_ASIDE: kept, f.DUE_AT: REMOVE, f.EXPIRES_AT: REMOVE}}]


def repair(document: Document) -> tuple[Document, list[Misfit]]:
    """Return a document with what can be derived, and the misfits that are left.

    Nothing is guessed: without a status, an id or metadata of the right type, a record stays as it is. A task that
    waits and cannot be run any more becomes FAILURE.
    """
    if not _is_whole(document.get(f.SHAPE, 0)) or document.get(f.SHAPE, 0) > f.SHAPE_VERSION:
        return document, [Misfit(f.SHAPE, "is that of a later version: use its doctor")]
    broken = {misfit.field for misfit in rules.WHOLE.misfits(document)}
    if f.TENANT in broken:
        broken.add(f.OWNER)  # without a tenant, the subject of this name may be another one
    repaired = _restored({name: value for name, value in document.items() if name not in broken & _OPTIONAL})
    for name in broken & _DERIVED.keys():
        repaired[name] = _DERIVED[name](document)
    unrunnable = broken & {f.NAME, f.ARGS, f.KWARGS}
    if unrunnable and repaired.get(f.STATUS) not in f.FINAL_NAMES:
        text = f"the record did not fit, and was repaired without {', '.join(sorted(unrunnable))}"
        repaired[f.ERROR] = {f.TYPE: "RecordError", f.MODULE: None, f.ARGS: [text], f.MESSAGE: text, f.TRACEBACK: None}
        repaired[f.STATUS] = str(Status.FAILURE)
        repaired[f.FINISHED_AT] = repaired[f.UPDATED_AT] = datetime.now(UTC)
        for name in (f.DUE_AT, f.CLAIM, f.WORKER_RUN, f.PID):
            repaired.pop(name, None)
    return repaired, rules.WHOLE.misfits(repaired)


def save(before: Document, after: Document) -> Write:
    """Store a repaired record, if it has not changed since it was read."""
    stored = {name: literal(value) for name, value in after.items() if name != f.ID}
    removed = dict.fromkeys(before.keys() - after.keys(), REMOVE)
    return unchanged(before), [{"$set": {**stored, **removed}}]


def unchanged(document: Document) -> Filter:
    """Return the filter that finds a record, whatever its values are, if it has not changed since it was read."""
    fence = {name: {"$eq": document[name]} if name in document else {"$exists": False} for name in _VERSIONED}
    return {f.ID: {"$eq": document[f.ID]}, **fence}


def _restored(document: Document) -> Document:
    """Return a document with the times that recovery has moved out of the way."""
    kept = document.pop(f.SET_ASIDE, None)
    times = {name: kept.get(name) for name in (f.DUE_AT, f.EXPIRES_AT)} if isinstance(kept, dict) else {}
    return {**document, **{name: time for name, time in times.items() if isinstance(time, datetime)}}


def _history(document: Document) -> list[Document]:
    stored = document.get(f.HISTORY)
    entries = stored if isinstance(stored, list) else []
    return [entry for entry in entries if rules.WHOLE.fits(f.HISTORY, [entry])]


def _known_history(document: Document) -> list[Document]:
    entry = {f.REVISION: _revision(document), f.STATUS: document.get(f.STATUS), f.AT: _created_at(document)}
    return _history(document) or [entry]


def _revision(document: Document) -> int:
    number = _number(document.get(f.REVISION))
    return number if 1 <= number <= MAX_INT else max([1, *(int(each[f.REVISION]) for each in _history(document))])


def _attempts(document: Document) -> int:
    number = _number(document.get(f.ATTEMPTS), -1)
    starts = sum(entry[f.STATUS] == Status.STARTED for entry in _history(document))
    return number if 0 <= number <= MAX_INT else starts


def _created_at(document: Document) -> datetime:
    times = [document.get(name) for name in (f.CREATED_AT, f.UPDATED_AT, f.STARTED_AT, f.FINISHED_AT)]
    known = [time for time in [*(entry[f.AT] for entry in _history(document)), *times] if isinstance(time, datetime)]
    return min(known, default=datetime.now(UTC))


def _error(document: Document) -> Document:
    stored = document.get(f.ERROR)
    message = stored.get(f.MESSAGE) if isinstance(stored, dict) else stored
    text = message if isinstance(message, str) else repr(message)
    return {f.TYPE: "Exception", f.MODULE: "builtins", f.ARGS: [text], f.MESSAGE: text, f.TRACEBACK: None}


def _number(value: Any, default: int = 0) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | float)


_VERSIONED = (f.REVISION, f.STATUS, f.UPDATED_AT)
_DERIVED: dict[str, Callable[[Document], Any]] = {
    f.REVISION: _revision,
    f.ATTEMPTS: _attempts,
    f.PRIORITY: lambda document: priority_of(document.get(f.PRIORITY)),
    f.ROOT_ID: lambda document: document[f.ID],
    f.NAME: lambda _: "unknown",
    f.QUEUE: lambda _: "unknown",
    f.ARGS: lambda _: [],
    f.KWARGS: lambda _: {},
    f.CREATED_AT: _created_at,
    f.UPDATED_AT: lambda _: datetime.now(UTC),
    f.HISTORY: _known_history,
    f.ERROR: _error,
}
# A record without them is whole.
_OPTIONAL = rules.WHOLE.optional - _DERIVED.keys()
