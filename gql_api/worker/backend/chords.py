"""Chords without polling: the member that finishes last sends the body.

Who has finished is kept as a set (``jobs/record/chords.py``), so it does no harm when a member is told twice; each adds
itself, and only the one that finds all of them there reads the set. Whoever finds it complete and the chord not done
sends the body, whose tasks have had their ids since the chord was made: sent twice, they are still the same tasks.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery import states
from celery.canvas import Signature, maybe_signature
from celery.exceptions import ChordError
from celery.result import GroupResult, ResultBase, result_from_tuple
from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from gql_api.record import canvas, fields, queries
from gql_api.record.canvas import Chord, ChordDefinition, Part
from gql_api.record.reads import Document, TaskRecord
from gql_api.record.writes import Write
from gql_api.worker.store.connections import DURABLE, QUICK

if TYPE_CHECKING:
    from gql_api.worker.backend.base import BaseBackend

Meta = dict[str, Any]

logger = logging.getLogger(__name__)

# While a body is being sent: the task that made the chord. The one whose end sends the body is just the last of many.
_launched_by: ContextVar[tuple[str | None] | None] = ContextVar("launched_by", default=None)


def parent_of_message(parent_id: str | None) -> str | None:
    """The parent of a task that is being sent, for which Celery names the task that happens to send it."""
    launched_by = _launched_by.get()
    return parent_id if launched_by is None else launched_by[0]


@dataclass(frozen=True, slots=True)
class _Members:
    """Those of a complete chord: the planned ones, nested as they are, the ids of those that joined, the records."""

    header: list[ResultBase]
    joined: list[str]
    records: Mapping[str, TaskRecord]


class Chords:
    """The chords of one backend."""

    def __init__(self, backend: BaseBackend) -> None:
        self._backend = backend

    def begin(self, header: GroupResult, body: Signature) -> None:
        """Keep the shape of a chord before its members are sent."""
        json_form, sender = self._backend.json_form, self._backend.app.current_worker_task
        parent_id = parent_of_message(None if sender is None else sender.request.id)
        shape = ChordDefinition(json_form(header.as_tuple()), json_form(body))
        filter_, update = canvas.save_definition(header.id, shape)
        self._backend.when_store_answers(lambda: self._shapes.update_one(filter_, update, upsert=True))
        self._change(canvas.begin(header.id, parent_id))

    def expect(self, chord_id: str, size: int) -> None:
        """Set how many members have to finish; Celery knows that before it sends the last of them."""
        self._change(canvas.expect(chord_id, size))

    def join(self, chord_id: str, task_id: str) -> None:
        """Let one more member have to finish: ``Task.add_to_chord``."""
        self._change(canvas.join(chord_id, task_id))

    def finish(self, request: Any) -> None:
        """Note that a member has finished, and send the body after the last."""
        if self._add(request.group, Part(request.id, request.group_index)):
            counted = self._count(request.group)
        else:
            # Whoever told it first may have died, or not heard that it was taken, before it was counted.
            counted = self._recount(request.group)
        self._complete(counted, request.chord)

    def look_after(self, document: Document) -> None:
        """Finish what a worker that died may have left undone: members not counted, or the body not sent."""
        look = canvas.claim_repair(document)
        if not self._collection.update_one(*look).matched_count:
            return
        chord = canvas.chord_from(document)
        told = {part.task_id for part in self._parts(chord.id)}
        shape = self._shape(chord.id)
        members = [*_leaves(self._header(shape)), *chord.joined]
        for record in self._backend.records_of([member for member in members if member not in told]):
            if record.is_final:
                self._add(chord.id, Part(record.id))
        self._complete(self._recount(chord.id), shape.body)

    def expire(self, seconds: float) -> None:
        """Delete the chords that nothing has happened to for so long, and with each what was noted of its members."""
        untouched = queries.untouched_for(seconds)
        for document in self._collection.find(untouched):
            chord_id = canvas.chord_from(document).id
            if self._collection.delete_one({**queries.by_id(chord_id), **untouched}).deleted_count:
                self._finished.delete_many(canvas.parts_of(chord_id))
                self._shapes.delete_one(queries.by_id(chord_id))

    @property
    def _collection(self) -> Collection[Document]:
        return self._backend.database[fields.CHORDS]

    @property
    def _finished(self) -> Collection[Document]:
        return self._backend.database[fields.CHORD_PARTS]

    @property
    def _shapes(self) -> Collection[Document]:
        return self._backend.database[fields.CHORD_DEFINITIONS]

    def _add(self, chord_id: str, part: Part) -> bool:
        """Add a member to those that have finished; tells whether it was not among them."""

        def add() -> bool:
            try:
                self._finished.insert_one(canvas.part(chord_id, part))
            except DuplicateKeyError:
                return False
            return True

        return self._backend.when_store_answers(add)

    def _count(self, chord_id: str) -> Chord:
        # The counter need not outlive a server that is lost: the members do, and are counted again then.
        return self._change(canvas.count(chord_id), QUICK)

    def _recount(self, chord_id: str) -> Chord:
        return self._change(canvas.recount(chord_id, self._number_of_parts(chord_id)))

    def _number_of_parts(self, chord_id: str) -> int:
        return self._backend.when_store_answers(lambda: self._finished.count_documents(canvas.parts_of(chord_id)))

    def _parts(self, chord_id: str) -> list[Part]:
        documents = self._backend.when_store_answers(lambda: list(self._finished.find(canvas.parts_of(chord_id))))
        return canvas.in_order([canvas.part_from(document) for document in documents])

    def _complete(self, counted: Chord, body: Any) -> None:
        """Send the body of a chord whose members have all finished."""
        if counted.done or not counted.is_complete(counted.finished):
            return
        # A counter can be ahead: a count whose reply was lost is made again.
        if not counted.is_complete(self._number_of_parts(counted.id)):
            return
        members = self._members(counted.id)
        if self._is_done(counted.id):
            # Another was faster, and may have dropped what members ignore before it was read here.
            return
        with _sent_for(counted.parent_id):
            self._send(counted, members, maybe_signature(body, app=self._backend.app))
        self._change(canvas.close(counted.id))
        self._drop_results([record.id for record in members.records.values() if record.has_chord_result])

    def _is_done(self, chord_id: str) -> bool:
        document = self._backend.when_store_answers(lambda: self._collection.find_one(queries.by_id(chord_id)))
        return document is not None and canvas.chord_from(document).done

    def _shape(self, chord_id: str) -> ChordDefinition:
        document = self._backend.when_store_answers(lambda: self._shapes.find_one(queries.by_id(chord_id)))
        return ChordDefinition() if document is None else canvas.definition_from(document)

    def _header(self, shape: ChordDefinition) -> list[ResultBase]:
        if shape.header is None:
            return []
        members: list[ResultBase] = result_from_tuple(shape.header, self._backend.app).results
        return members

    def _members(self, chord_id: str) -> _Members:
        header = self._header(self._shape(chord_id))
        planned = list(_leaves(header))
        known = set(planned)
        joined = [part.task_id for part in self._parts(chord_id) if part.task_id not in known]
        records = self._backend.when_store_answers(lambda: self._backend.records_of([*planned, *joined]))
        return _Members(header, joined, {record.id: record for record in records})

    def _drop_results(self, task_ids: list[str]) -> None:
        """Let go of what members ignore. A worker that dies just before leaves what nobody sees and nobody needs."""
        if task_ids:
            for store in (self._backend.store, self._backend.internal_store):
                self._backend.when_store_answers(functools.partial(store.note, canvas.drop_results(task_ids)))

    def _send(self, chord: Chord, members: _Members, body: Any) -> None:
        try:
            results = self._results_of(members)
        except ChordError as error:
            logger.warning("Chord %s fails: %s", chord.id, error)
            self._backend.chord_error_from_stack(body, error)
            return
        try:
            self._backend.app.amqp._retry_publish(body.delay, results)  # noqa: SLF001 - as Celery's own backends do
        except Exception as error:
            logger.exception("The body of chord %s could not be sent", chord.id)
            self._backend.chord_error_from_stack(body, ChordError(f"Callback error: {error!r}"))

    def _results_of(self, members: _Members) -> list[Any]:
        """The members' results in the order of the members, nested like them; those that joined later come last.

        Raises:
            ChordError: a member failed.
        """
        metas = {task_id: self._meta_of(record) for task_id, record in members.records.items()}
        return [
            *(_value_of(member, metas) for member in members.header),
            *(_result_of(task_id, metas) for task_id in members.joined),
        ]

    def _meta_of(self, record: TaskRecord) -> Meta:
        if record.has_chord_result:
            return {"status": states.SUCCESS, "result": self._backend.python_form(record.chord_result)}
        return self._backend.meta_of(record)

    def _change(self, write: Write, concern: WriteConcern = DURABLE) -> Chord:
        filter_, update = write
        collection = self._collection.with_options(write_concern=concern)

        def change() -> Chord:
            document: Any = collection.find_one_and_update(
                filter_, update, upsert=True, return_document=ReturnDocument.AFTER
            )
            return canvas.chord_from(document)

        return self._backend.when_store_answers(change)


@contextlib.contextmanager
def _sent_for(parent_id: str | None) -> Iterator[None]:
    token = _launched_by.set((parent_id,))
    try:
        yield
    finally:
        _launched_by.reset(token)


def _leaves(members: Iterable[ResultBase]) -> Iterator[str]:
    for member in members:
        if isinstance(member, GroupResult):
            yield from _leaves(member.results)
        else:
            yield member.id


def _value_of(member: ResultBase, metas: Mapping[str, Meta]) -> Any:
    if isinstance(member, GroupResult):
        return [_value_of(inner, metas) for inner in member.results]
    return _result_of(member.id, metas)


def _result_of(task_id: str, metas: Mapping[str, Meta]) -> Any:
    meta = metas.get(task_id)
    if meta is None or meta["status"] not in states.READY_STATES:
        raise ChordError(f"Dependency {task_id} has no result")
    if meta["status"] in states.PROPAGATE_STATES:
        raise ChordError(f"Dependency {task_id} raised {meta['result']!r}") from meta["result"]
    return meta["result"]
