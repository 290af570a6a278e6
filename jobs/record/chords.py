"""A chord under way: its shape in one document, and a small one for each member that has finished.

A member's document has an id made of the chord's and its own, so a member told twice counts once. The chord's has a
counter beside, or every member would have to count all. The counter is a hint, for a process may die, or lose a reply,
between the two writes: who finds it full counts the members, and recovery sets it right when it fell behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson import MaxKey, MinKey
from pymongo import IndexModel

from jobs import values
from jobs.record import fields as f
from jobs.record.reads import Document
from jobs.record.writes import REMOVE, Filter, Write, literal

_SIZE = "size"
_HEADER = "header"
_BODY = "body"
_FINISHED = "finished"
_JOINED = "joined"
_INDEX = "index"
_DONE = "done"
# In a part's id.
_CHORD = "chord"
_TASK = "task"

# All of a chord but what grows with the number of its members.
COUNTS = {_SIZE: 1, _FINISHED: 1, _JOINED: 1, _DONE: 1, f.PARENT_ID: 1}


@dataclass(frozen=True, slots=True)
class Part:
    """A member that has finished; ``index`` is its place among the members."""

    task_id: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Chord:
    """What is known of a chord.

    ``header`` and ``body`` are Celery's result tuple and signature in JSON form; ``parent_id`` is who made it;
    ``joined`` are members that were added while the others ran. ``finished`` is the counter.
    """

    id: str
    size: int | None = None
    joined: list[str] = field(default_factory=list)
    finished: int = 0
    header: Any = None
    body: Any = None
    parent_id: str | None = None
    done: bool = False

    def is_complete(self, finished: int) -> bool:
        """Whether so many finished members are all of them."""
        return self.size is not None and finished >= self.size + len(self.joined)


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


def part(chord_id: str, member: Part) -> Document:
    """The document of a member that has finished. A duplicate key error means that it was told before."""
    return {f.ID: {_CHORD: chord_id, _TASK: member.task_id}, _INDEX: member.index}


def parts_of(chord_id: str) -> Filter:
    """The filter that finds the finished members of a chord: one range of the index that every collection has."""
    return {f.ID: {"$gt": {_CHORD: chord_id, _TASK: MinKey()}, "$lt": {_CHORD: chord_id, _TASK: MaxKey()}}}


def part_from(document: Document) -> Part:
    """Read a finished member."""
    return Part(document[f.ID][_TASK], document[_INDEX])


def in_order(parts: list[Part]) -> list[Part]:
    """By the members' places; those that joined later have none and come last."""
    return sorted(parts, key=lambda member: (member.index is None, member.index or 0))


def count(chord_id: str) -> tuple[Filter, Document]:
    """Count one more finished member. Run as an upsert.

    No pipeline: MongoDB makes the whole document anew for that, and this one may be long.
    """
    update = {"$inc": {_FINISHED: 1}, "$currentDate": {f.UPDATED_AT: True}, "$setOnInsert": {_DONE: False}}
    return {f.ID: chord_id}, update


def recount(chord_id: str, finished: int) -> Write:
    """Set the counter to what was counted. Run as an upsert."""
    return _upsert(chord_id, {_FINISHED: finished})


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
    """Read a chord, or its :data:`COUNTS`."""
    return Chord(
        id=document[f.ID],
        size=document.get(_SIZE),
        joined=document.get(_JOINED, []),
        finished=document.get(_FINISHED, 0),
        header=values.load(document.get(_HEADER)),
        body=values.load(document.get(_BODY)),
        parent_id=document.get(f.PARENT_ID),
        done=document.get(_DONE, False),
    )


def keep_result(ending: Write, result: Any) -> Write:
    """Keep what a member with ``ignore_result`` returned, for its chord's body, by the write that ends it."""
    filter_, update = ending
    return filter_, [*update, {"$set": {f.CHORD_RESULT: literal(values.dump(result))}}]


def drop_results(task_ids: list[str]) -> Write:
    """Drop what was kept for a chord's body. No client sees either. Run over many."""
    return {f.ID: {"$in": task_ids}, f.CHORD_RESULT: {"$exists": True}}, [{"$set": {f.CHORD_RESULT: REMOVE}}]


INDEXES = [
    IndexModel([(f.UPDATED_AT, 1)], partialFilterExpression={_DONE: False}),  # recovery: unfinished_since
]

_ONCE = {"$ifNull": [f"${f.CREATED_AT}", "$$NOW"]}


def _upsert(chord_id: str, changes: dict[str, Any]) -> Write:
    return {f.ID: chord_id}, [{"$set": {_DONE: {"$ifNull": [f"${_DONE}", False]}, **changes, f.UPDATED_AT: "$$NOW"}}]
