"""A chord under way: its shape, its counters, and its finished members, in documents of their own.

A member's document has an id made of the chord's and its own, so a member told twice counts once. The counter beside
spares a member to count all. It is a hint, for a process may die, or lose a reply, between the two writes: who finds it
full counts the members, and recovery sets it right when it fell behind. The shape is as long as the chord has members,
and stands apart from what each of them changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson import MaxKey, MinKey
from pymongo import IndexModel

from gql_api import values
from gql_api.record import fields as f
from gql_api.record.reads import Document
from gql_api.record.writes import REMOVE, Filter, Write, literal

_SIZE = "size"
_HEADER = "header"
_BODY = "body"
_FINISHED = "finished"
_JOINED = "joined"
_INDEX = "index"
_DONE = "done"
_MEMBERS = "members"
# In a part's id.
_CHORD = "chord"
_TASK = "task"


@dataclass(frozen=True, slots=True)
class Part:
    """A member that has finished; ``index`` is its place among the members."""

    task_id: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Chord:
    """How far a chord is.

    ``parent_id`` is who made it, ``joined`` are members that were added while the others ran, ``finished`` is the
    counter.
    """

    id: str
    size: int | None = None
    joined: list[str] = field(default_factory=list)
    finished: int = 0
    parent_id: str | None = None
    done: bool = False

    def is_complete(self, finished: int) -> bool:
        """Whether so many finished members are all of them."""
        return self.size is not None and finished >= self.size + len(self.joined)


@dataclass(frozen=True, slots=True)
class Shape:
    """Who belongs to a chord and what follows it: Celery's result tuple and signature in JSON form."""

    header: Any = None
    body: Any = None


def draw(chord_id: str, shape: Shape) -> Write:
    """Keep the shape of a chord. Run as an upsert."""
    stage = {_HEADER: literal(values.dump(shape.header)), _BODY: literal(values.dump(shape.body))}
    return {f.ID: chord_id}, [{"$set": stage}]


def definition_from_document(document: Document) -> Shape:
    """Read the shape of a chord."""
    return Shape(values.load(document[_HEADER]), values.load(document[_BODY]))


def begin(chord_id: str, parent_id: str | None) -> Write:
    """Let a chord be under way. Run as an upsert."""
    return _upsert(chord_id, {f.PARENT_ID: parent_id, f.CREATED_AT: _ONCE})


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


def count(chord_id: str) -> Write:
    """Count one more finished member. Run as an upsert."""
    return _upsert(chord_id, {_FINISHED: {"$add": [{"$ifNull": [f"${_FINISHED}", 0]}, 1]}})


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
    """Read a chord."""
    return Chord(
        id=document[f.ID],
        size=document.get(_SIZE),
        joined=document.get(_JOINED, []),
        finished=document.get(_FINISHED, 0),
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


def save_group(group_id: str, members: Any) -> Write:
    """Keep the shape of a group, Celery's ``GroupResult.as_tuple`` in JSON. Run as an upsert."""
    return {f.ID: group_id}, [{"$set": {_MEMBERS: {"$literal": values.dump(members)}, f.UPDATED_AT: "$$NOW"}}]


def members_of(document: Document) -> Any:
    """Read what :func:`save_group` kept."""
    return values.load(document[_MEMBERS])


INDEXES = [
    IndexModel([(f.UPDATED_AT, 1)], partialFilterExpression={_DONE: False}),  # recovery: unfinished_since
]

_ONCE = {"$ifNull": [f"${f.CREATED_AT}", "$$NOW"]}


def _upsert(chord_id: str, changes: dict[str, Any]) -> Write:
    return {f.ID: chord_id}, [{"$set": {_DONE: {"$ifNull": [f"${_DONE}", False]}, **changes, f.UPDATED_AT: "$$NOW"}}]
