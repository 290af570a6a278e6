"""A chord under way: which members have finished, kept as a set so that a member told twice counts once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pymongo import IndexModel

from jobs import values
from jobs.record import fields as f
from jobs.record.reads import Document
from jobs.record.writes import Write

_SIZE = "size"
_HEADER = "header"
_BODY = "body"
_PARTS = "parts"
_JOINED = "joined"
_INDEX = "index"
_DONE = "done"


@dataclass(frozen=True, slots=True)
class Part:
    """A member that has finished.

    ``index`` is its place among the members. ``result`` is what its record does not hold because the member ignores
    its result, in JSON form; ``ignored`` tells that from a result of None.
    """

    task_id: str
    index: int | None = None
    ignored: bool = False
    result: Any = None


@dataclass(frozen=True, slots=True)
class Chord:
    """What is known of a chord.

    ``header`` and ``body`` are Celery's result tuple and signature in JSON form; ``parent_id`` is who made it.
    """

    id: str
    size: int | None = None
    joined: int = 0
    header: Any = None
    body: Any = None
    parent_id: str | None = None
    parts: list[Part] = field(default_factory=list)
    done: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every member has finished."""
        return self.size is not None and len(self.parts) >= self.size + self.joined


def begin(chord_id: str, header: Any, body: Any, parent_id: str | None) -> Write:
    """Keep who belongs to a chord and what follows it. Run as an upsert."""
    return _upsert(
        chord_id,
        {
            _HEADER: {"$literal": values.dump(header)},
            _BODY: {"$literal": values.dump(body)},
            f.PARENT_ID: parent_id,
            f.CREATED_AT: _ONCE,
        },
    )


def expect(chord_id: str, size: int) -> Write:
    """Set how many members have to finish. Run as an upsert."""
    return _upsert(chord_id, {_SIZE: size})


def join(chord_id: str, task_id: str) -> Write:
    """Let one more member, that joins while the others run, have to finish. Run as an upsert."""
    return _upsert(chord_id, {_JOINED: {"$setUnion": [{"$ifNull": [f"${_JOINED}", []]}, [{"$literal": task_id}]]}})


def finish(chord_id: str, part: Part) -> Write:
    """Add a member to those that have finished, unless it is among them. Run as an upsert."""
    entry = {f.ID: part.task_id, _INDEX: part.index}
    if part.ignored:
        entry[f.RESULT] = values.dump(part.result)
    known = {"$ifNull": [f"${_PARTS}", []]}
    is_known = {"$in": [{"$literal": part.task_id}, {"$ifNull": [f"${_PARTS}.{f.ID}", []]}]}
    return _upsert(chord_id, {_PARTS: {"$cond": [is_known, known, {"$concatArrays": [known, [{"$literal": entry}]]}]}})


def close(chord_id: str) -> Write:
    """Note that the body was sent, or failed in the members' place."""
    return _upsert(chord_id, {_DONE: True})


def unfinished_since(time: datetime) -> Document:
    """The filter that finds chords that are not done and that nothing has happened to since a time."""
    return {_DONE: False, f.UPDATED_AT: {"$lt": time}}


def look_after(chord: Document) -> Write:
    """Note that somebody looks after a chord; only one of those who see it will."""
    return {f.ID: chord[f.ID], f.UPDATED_AT: chord[f.UPDATED_AT]}, [{"$set": {f.UPDATED_AT: "$$NOW"}}]


def chord_from(document: Document) -> Chord:
    """Read a chord."""
    parts = [
        Part(entry[f.ID], entry[_INDEX], f.RESULT in entry, values.load(entry.get(f.RESULT)))
        for entry in document.get(_PARTS, [])
    ]
    return Chord(
        id=document[f.ID],
        size=document.get(_SIZE),
        joined=len(document.get(_JOINED, [])),
        header=values.load(document.get(_HEADER)),
        body=values.load(document.get(_BODY)),
        parent_id=document.get(f.PARENT_ID),
        parts=sorted(parts, key=lambda part: (part.index is None, part.index or 0)),
        done=document.get(_DONE, False),
    )


INDEXES = [
    IndexModel([(f.UPDATED_AT, 1)], partialFilterExpression={_DONE: False}),  # recovery: unfinished_since
]

_ONCE = {"$ifNull": [f"${f.CREATED_AT}", "$$NOW"]}


def _upsert(chord_id: str, changes: dict[str, Any]) -> Write:
    return {f.ID: chord_id}, [{"$set": {_DONE: {"$ifNull": [f"${_DONE}", False]}, **changes, f.UPDATED_AT: "$$NOW"}}]
