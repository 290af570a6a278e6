"""The documents of chords and groups: a chord's definition, its counters, and its finished members; and later steps.

The id of a finished member's document consists of the chord's id and its own, so that a member reported twice counts
once. The chord's counter saves counting all of them each time. It is a hint, because a process may die, or lose a
reply, between the two writes: a member that finds it full counts the documents, and recovery corrects a counter that
fell behind. The definition is as long as the chord has members, and therefore not in the document that each of them
changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson import MaxKey, MinKey
from pymongo import IndexModel

from gql_api import values
from gql_api.record import fields as f
from gql_api.record import queries
from gql_api.record.fields import Status, WaitsKind
from gql_api.record.model import ErrorInfo, NewTask
from gql_api.record.reads import Document
from gql_api.record.writes import NEXT_REVISION, NOW, REMOVE, Filter, Write, create, fail, literal

_SIZE = "size"
_HEADER = "header"
_BODY = "body"
_FINISHED = "finished"
_JOINED = "joined"
_INDEX = "index"
_DONE = "done"
_MEMBERS = "members"
# Inside a part's id.
_CHORD = "chord"
_TASK = "task"


@dataclass(frozen=True, slots=True)
class Part:
    """A finished member of a chord; ``index`` is its place among the members."""

    task_id: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Chord:
    """The state of a chord.

    ``parent_id`` is the task that made it, ``joined`` are members that were added while the others ran, ``finished`` is
    the counter.
    """

    id: str
    size: int | None = None
    joined: list[str] = field(default_factory=list)
    finished: int = 0
    parent_id: str | None = None
    # The owner of the body.
    owner: str | None = None
    tenant: str | None = None
    done: bool = False

    def is_complete(self, finished: int) -> bool:
        """Return whether this number of finished members is all of them."""
        return self.size is not None and finished >= self.size + len(self.joined)


@dataclass(frozen=True, slots=True)
class ChordDefinition:
    """The members of a chord and its body: Celery's result tuple and signature in JSON form."""

    header: Any = None
    body: Any = None


def save_definition(chord_id: str, definition: ChordDefinition) -> Write:
    """Store the definition of a chord. Run as an upsert."""
    stage = {_HEADER: literal(values.dump(definition.header)), _BODY: literal(values.dump(definition.body))}
    return {f.ID: chord_id}, [{"$set": stage}]


def definition_from(document: Document) -> ChordDefinition:
    """Read the definition of a chord."""
    return ChordDefinition(values.load(document[_HEADER]), values.load(document[_BODY]))


def begin(chord_id: str, parent_id: str | None, owner: str | None = None, tenant: str | None = None) -> Write:
    """Create the state of a chord. Run as an upsert."""
    theirs = {f.OWNER: literal(owner), f.TENANT: literal(tenant)}
    return _upsert(chord_id, {f.PARENT_ID: parent_id, f.CREATED_AT: _ONCE, **theirs})


def expect(chord_id: str, size: int) -> Write:
    """Set the number of members that have to finish. Run as an upsert."""
    return _upsert(chord_id, {_SIZE: size})


def join(chord_id: str, task_id: str) -> Write:
    """Add a member that joins while the others run. Run as an upsert."""
    return _upsert(chord_id, {_JOINED: {"$setUnion": [{"$ifNull": [f"${_JOINED}", []]}, [literal(task_id)]]}})


def add_part(chord_id: str, member: Part) -> Write:
    """Add a finished member. Run as an upsert, which changes nothing when the member was added before."""
    return {f.ID: {_CHORD: chord_id, _TASK: member.task_id}}, [
        {"$set": {_INDEX: {"$ifNull": [f"${_INDEX}", member.index]}}}
    ]


def parts_of(chord_id: str) -> Filter:
    """Return the filter that finds the finished members of a chord, by one range of the index of ids."""
    return {f.ID: {"$gt": {_CHORD: chord_id, _TASK: MinKey()}, "$lt": {_CHORD: chord_id, _TASK: MaxKey()}}}


def part_from(document: Document) -> Part:
    """Read a finished member."""
    return Part(document[f.ID][_TASK], document[_INDEX])


def in_order(parts: list[Part]) -> list[Part]:
    """Return the members by their places; those that joined later have none and come last."""
    return sorted(parts, key=lambda member: (member.index is None, member.index or 0))


def count(chord_id: str) -> Write:
    """Count one more finished member. Run as an upsert."""
    return _upsert(chord_id, {_FINISHED: {"$add": [{"$ifNull": [f"${_FINISHED}", 0]}, 1]}})


def recount(chord_id: str, finished: int) -> Write:
    """Set the counter to the counted number of finished members. Run as an upsert."""
    return _upsert(chord_id, {_FINISHED: finished})


def close(chord_id: str) -> Write:
    """Record that the body was sent, or that it failed because a member did. Run as an upsert."""
    return _upsert(chord_id, {_DONE: True})


def unfinished_since(time: datetime) -> Document:
    """Return the filter that finds chords that are not done and have not changed since a time."""
    return {_DONE: False, f.UPDATED_AT: {"$lt": time}}


def ended_before(seconds: float) -> Document:
    """Return the filter that finds chords that were done so many seconds ago, by the database's clock."""
    return {_DONE: True, **queries.untouched_for(seconds)}


def unfinished_among(chord_ids: list[str]) -> Document:
    """Return the filter that finds those of some chords that are not done."""
    return {f.ID: {"$in": chord_ids}, _DONE: False}


def claim_repair(chord: Document) -> Write:
    """Take the repair of a chord; of several processes that found it in this state, one succeeds."""
    return {f.ID: chord[f.ID], f.UPDATED_AT: chord[f.UPDATED_AT]}, [{"$set": {f.UPDATED_AT: NOW}}]


def chord_from(document: Document) -> Chord:
    """Read a chord."""
    return Chord(
        id=document[f.ID],
        size=document.get(_SIZE),
        joined=document.get(_JOINED, []),
        finished=document.get(_FINISHED, 0),
        parent_id=document.get(f.PARENT_ID),
        owner=document.get(f.OWNER),
        tenant=document.get(f.TENANT),
        done=document.get(_DONE, False),
    )


def drop_results(task_ids: list[str]) -> Write:
    """Remove the values that were kept for a chord's body; clients see neither. Run over many."""
    return {f.ID: {"$in": task_ids}, f.CHORD_RESULT: {"$exists": True}}, [{"$set": {f.CHORD_RESULT: REMOVE}}]


def save_group(group_id: str, members: Any) -> Write:
    """Store the members of a group, Celery's ``GroupResult.as_tuple`` in JSON form. Run as an upsert."""
    return {f.ID: group_id}, [{"$set": {_MEMBERS: literal(values.dump(members)), f.UPDATED_AT: NOW}}]


def members_of(document: Document) -> Any:
    """Read the members that :func:`save_group` stored."""
    return values.load(document[_MEMBERS])


# A later step of a chain, or the body of a chord, that was not sent yet.
WAITING_STEP: Filter = {f.STATUS: Status.QUEUED, f.ATTEMPTS: 0, f.WAITS_FOR: {"$exists": True}, f.DUE_AT: None}


def await_step(task: NewTask, step_id: str, kind: WaitsKind | None = None) -> Write:
    """Create the record of a task that is sent when an earlier step has ended. Run as an upsert.

    It has no due time: recovery does not send it.
    """
    filter_, [update] = create(task)
    stage = update["$set"]
    entry = {**stage[f.HISTORY][0], f.MESSAGE: literal(f.WAITS_FOR_STEP)}
    stage = {**stage, f.HISTORY: [entry], f.WAITS_FOR: literal(step_id)}
    if kind is not None:
        stage[f.WAITS_KIND] = kind
    return filter_, [{"$set": {name: value for name, value in stage.items() if name != f.DUE_AT}}]


def take_up(task: NewTask) -> Write:
    """Store the message of a waiting step, which is sent now. Metadata that a caller has changed meanwhile stay.

    So does its owner, whoever sends it.
    """
    _, [update] = create(task)
    stage = update["$set"]
    entry, metadata = {**stage[f.HISTORY][0], f.REVISION: NEXT_REVISION}, stage[f.METADATA]
    is_callers = {"$gt": [f"${f.METADATA_REVISION}", None]}
    stage = {
        **{name: value for name, value in stage.items() if name not in {f.CREATED_AT, f.OWNER, f.TENANT}},
        f.REVISION: NEXT_REVISION,
        f.HISTORY: {"$concatArrays": [f"${f.HISTORY}", [entry]]},
        f.METADATA: {"$cond": [is_callers, f"${f.METADATA}", metadata]},
        f.METADATA_REVISION: {
            "$cond": [
                {"$or": [is_callers, {"$eq": [f"${f.METADATA}", metadata]}]},
                {"$ifNull": [f"${f.METADATA_REVISION}", REMOVE]},
                NEXT_REVISION,
            ]
        },
        f.HIDDEN: stage.get(f.HIDDEN, REMOVE),
        # Those of a step with hidden arguments have its arguments, without the result of the step before.
        f.MESSAGE_PARTS: stage.get(f.MESSAGE_PARTS, REMOVE),
        f.WAITS_FOR: REMOVE,
        f.WAITS_KIND: REMOVE,
    }
    return {f.ID: task.id, **WAITING_STEP}, [{"$set": stage}]


def waiting_after(task_ids: list[str]) -> Filter:
    """Return the filter that finds the steps that were to be sent by some waiting steps."""
    return {f.PARENT_ID: {"$in": task_ids}, **WAITING_STEP}


def end_waiting(
    task_ids: list[str], error: ErrorInfo | None, status: Status, by: str, *, actor: str | None = None
) -> Write:
    """End those of some tasks that wait for an earlier step. Run over many."""
    filter_, [update] = fail(task_ids, error, status=status, actor=actor, fence=WAITING_STEP)
    return filter_, [{"$set": {**update["$set"], f.TAKEN_BY: by, f.WAITS_KIND: REMOVE}}]


@dataclass(frozen=True, slots=True)
class Wait:
    """A task, or a chord, that a task waits for."""

    step_id: str
    is_chord: bool


WAIT_ONLY = {f.WAITS_FOR: 1, f.WAITS_KIND: 1}
WAIT_ORDER = [(f.WAITS_FOR, 1)]


def waiting_since(time: datetime, after: str) -> Filter:
    """Return the filter that finds the waiting steps, by what they wait for, that have not changed since a time."""
    waits = {f.WAITS_FOR: {"$exists": True, "$gt": after}, f.WAITS_KIND: {"$in": list(WaitsKind)}}
    return {**WAITING_STEP, **waits, f.UPDATED_AT: {"$lt": time}}


def waiting_for(step_id: str, kinds: list[WaitsKind], time: datetime) -> Filter:
    """Return the filter that finds those that wait for one task or chord."""
    waits = {f.WAITS_FOR: {"$exists": True, "$eq": step_id}, f.WAITS_KIND: {"$in": kinds}}
    return {**WAITING_STEP, **waits, f.UPDATED_AT: {"$lt": time}}


def wait_from(document: Document) -> Wait:
    """Read what a task found with :data:`WAIT_ONLY` waits for."""
    return Wait(document[f.WAITS_FOR], document[f.WAITS_KIND] == WaitsKind.CHORD)


def going_on(chord_ids: list[str], time: datetime) -> Document:
    """Return the filter that finds those of some chords that are not done, or have changed since a time."""
    return {f.ID: {"$in": chord_ids}, "$or": [{_DONE: False}, {f.UPDATED_AT: {"$gte": time}}]}


def created_by(task_ids: list[str], token: str) -> Filter:
    """Return the filter that finds those of some tasks that a sender has created."""
    return {f.ID: {"$in": task_ids}, f.SENDER_TOKEN: token}


INDEXES = [
    IndexModel([(f.UPDATED_AT, 1)], partialFilterExpression={_DONE: False}),  # recovery: unfinished_since
]

_ONCE = {"$ifNull": [f"${f.CREATED_AT}", NOW]}


def _upsert(chord_id: str, changes: dict[str, Any]) -> Write:
    return {f.ID: chord_id}, [{"$set": {_DONE: {"$ifNull": [f"${_DONE}", False]}, **changes, f.UPDATED_AT: NOW}}]
