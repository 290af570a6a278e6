"""Chords without polling: the member that finishes last sends the body.

The finished members are a set (:mod:`gql_api.record.canvas`), so a member that is reported twice counts once. Each
member adds itself, and only a member that finds the set complete reads it. Every process that finds the set complete
and the chord not done sends the body. The body's tasks have had their ids since the chord was made: sent twice, they
are still the same tasks.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery import states
from celery.canvas import Signature, maybe_signature
from celery.exceptions import ChordError
from celery.result import AsyncResult, GroupResult, ResultBase, result_from_tuple
from kombu.exceptions import OperationalError

from gql_api.access.owner_signature import Owner
from gql_api.outage import is_outage
from gql_api.record import canvas
from gql_api.record.canvas import Chord, ChordDefinition, Part
from gql_api.record.reads import TaskRecord
from gql_api.worker.backend.canvas import LaterSteps, check_member, tasks_waited_for
from gql_api.worker.backend.codec import Codec, Meta
from gql_api.worker.backend.records import Records
from gql_api.worker.backend.translation import RedactionOf, unsent
from gql_api.worker.state.owners import naming
from gql_api.worker.state.unrecorded import is_unrecorded_function, recorded_sender_id
from gql_api.worker.store.chords import ChordStore, Retry
from gql_api.worker.store.owners import Owners

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

# While a body is being sent: the task that made the chord. The task whose end sends the body is only the last of many.
_launched_by: ContextVar[tuple[str | None] | None] = ContextVar("launched_by", default=None)


def parent_of_message(parent_id: str | None) -> str | None:
    """Return the parent of a task that is being sent; Celery's ``parent_id`` is the task that happens to send it."""
    launched_by = _launched_by.get()
    return parent_id if launched_by is None else launched_by[0]


@dataclass(frozen=True, slots=True)
class _Members:
    """The members of a complete chord: the planned ones, nested as they are, the ids of later ones, and the records."""

    header: list[ResultBase]
    joined: list[str]
    records: Mapping[str, TaskRecord]


class Chords:
    """The chords of one backend.

    Args:
        app: sends the bodies.
        store: holds the chords.
        records: holds the members.
        codec: between stored values and Celery's.
        retry: waits out outages in a worker.
        fail_body: fails a body in its members' place.
        later_steps: records bodies that will be sent; None if some of those are not recorded at all.
        redaction_of: the redactions of functions by their names.
        owners: the owners of chords and their bodies.
    """

    def __init__(
        self,
        app: Celery,
        store: ChordStore,
        records: Records,
        codec: Codec,
        retry: Retry,
        fail_body: Callable[[Any, BaseException], object],
        later_steps: LaterSteps | None,
        redaction_of: RedactionOf,
        owners: Owners,
    ) -> None:
        self._app = app
        self._store = store
        self._records = records
        self._codec = codec
        self._retry = retry
        self._fail_body = fail_body
        self._later_steps = later_steps
        self._redaction_of = redaction_of
        self._owners = owners
        # Logged once each.
        self._unrepairable: set[str] = set()

    def begin(self, header: GroupResult, body: Signature) -> None:
        """Store the definition of a chord before its members are sent.

        Raises:
            ValueError: a member is not recorded.
        """
        for member in _results(header.results):
            check_member(self._app, getattr(member, "function_name", None))
        json_form = self._codec.json_form
        parent_id = parent_of_message(recorded_sender_id(self._app))
        self._store.save_definition(header.id, ChordDefinition(json_form(header.as_tuple()), json_form(body)))
        self._store.change(canvas.begin(header.id, parent_id, *self._owners.of_sender(parent_id)))

    def has(self, chord_id: str) -> bool:
        """Return whether an adopted process made a chord."""
        return self._store.definition(chord_id).header is not None

    def expect(self, chord_id: str, size: int) -> None:
        """Set how many members have to finish; Celery knows that before it sends the last of them."""
        chord = self._store.change(canvas.expect(chord_id, size))
        # Not before: the sender may have stopped at an error of an earlier member.
        body = None if self._later_steps is None else self._store.definition(chord_id).body
        if self._later_steps is not None and body is not None:
            self._later_steps.record_body(body, chord)

    def join(self, chord_id: str, task_id: str) -> None:
        """Add a member that has to finish too: ``Task.add_to_chord``."""
        self._store.change(canvas.join(chord_id, task_id))

    def finish(self, request: Any) -> None:
        """Store that a member has finished, and send the body after the last."""
        if self._store.add_part(request.group, Part(request.id, request.group_index)):
            # The counter may be lost with a server: the members are not, and are counted again then.
            counted = self._store.change(canvas.count(request.group), quick=True)
        else:
            # The process that added the member may have died before it counted it, or may not have had an answer.
            counted = self._recount(request.group)
        self._complete(counted, request.chord)

    def repair(self, unchanged_since: datetime) -> None:
        """Finish what workers that died left undone: members that were not counted, and bodies that were not sent."""
        for chord in self._store.take_unfinished(unchanged_since):
            try:
                self._repair(chord)
            except Exception as error:
                if is_outage(error) or isinstance(error, OperationalError | OSError):
                    raise
                if chord.id not in self._unrepairable:
                    self._unrepairable.add(chord.id)
                    logger.exception("Chord %s cannot be repaired; the others are", chord.id)

    def _repair(self, chord: Chord) -> None:
        finished = {part.task_id for part in self._store.parts(chord.id)}
        definition = self._store.definition(chord.id)
        members = [*_leaves(self._header(definition)), *chord.joined]
        for record in self._records.find_all([member for member in members if member not in finished]):
            if record.is_final:
                self._store.add_part(chord.id, Part(record.id))
        self._complete(self._recount(chord.id), definition.body)

    def expire(self, seconds: float) -> None:
        """Delete the chords that were done so long ago."""
        self._store.expire(seconds)

    def create_body_records(self, body: Signature) -> None:
        """Create the records of a body that will not be sent, for clients that wait for its tasks."""
        for task in tasks_waited_for(body):
            if is_unrecorded_function(self._app, task.task):
                continue
            parent_id, queue = parent_of_message(task.options.get("parent_id")), self._app.conf.task_default_queue
            json_form, redaction = self._codec.json_form, self._redaction_of(task.task)
            new = unsent(task, json_form, redaction, parent_id=parent_id, default_queue=queue)
            owner = self._owners.of_sender(parent_id)
            new = replace(new, owner=owner.subject, tenant=owner.tenant)
            self._retry(functools.partial(self._records.create, self._records.store, new))

    def _recount(self, chord_id: str) -> Chord:
        return self._store.change(canvas.recount(chord_id, self._store.count_parts(chord_id)))

    def _complete(self, counted: Chord, body: Any) -> None:
        """Send the body of a chord if all of its members have finished."""
        if counted.done or not counted.is_complete(counted.finished):
            return
        # The counter can be ahead: a count whose reply was lost is made again.
        if not counted.is_complete(self._store.count_parts(counted.id)):
            return
        members = self._members(counted.id)
        if self._store.is_done(counted.id):
            # Another process was faster, and may have dropped ignored results before they were read here.
            return
        with _sent_for(counted.parent_id), naming(Owner(counted.owner, counted.tenant)):
            self._send(counted, members, maybe_signature(body, app=self._app))
        self._store.change(canvas.close(counted.id))
        self._drop_results([record.id for record in members.records.values() if record.has_chord_result])

    def _header(self, definition: ChordDefinition) -> list[ResultBase]:
        if definition.header is None:
            return []
        members: list[ResultBase] = result_from_tuple(definition.header, self._app).results
        return members

    def _members(self, chord_id: str) -> _Members:
        header = self._header(self._store.definition(chord_id))
        planned = list(_leaves(header))
        known = set(planned)
        joined = [part.task_id for part in self._store.parts(chord_id) if part.task_id not in known]
        records = self._retry(lambda: self._records.find_all([*planned, *joined]))
        return _Members(header, joined, {record.id: record for record in records})

    def _drop_results(self, task_ids: list[str]) -> None:
        """Drop ignored results. If a worker dies just before, they stay in records where no client sees them."""
        if task_ids:
            for store in (self._records.store, self._records.internal_store):
                self._retry(functools.partial(store.note, canvas.drop_results(task_ids)))

    def _send(self, chord: Chord, members: _Members, body: Any) -> None:
        try:
            results = self._results_of(members)
        except ChordError as error:
            logger.warning("Chord %s fails: %s", chord.id, error)
            self._fail_body(body, error)
            return
        try:
            self._app.amqp._retry_publish(body.delay, results)  # noqa: SLF001 - as Celery's own backends do
        except Exception as error:
            logger.exception("The body of chord %s could not be sent", chord.id)
            self._fail_body(body, ChordError(f"Callback error: {error!r}"))

    def _results_of(self, members: _Members) -> list[Any]:
        """Return the members' results in the order of the members, nested like them, later members last.

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
            return {"status": states.SUCCESS, "result": self._codec.python_form(record.chord_result)}
        return self._codec.meta(record.id, record)


@contextlib.contextmanager
def _sent_for(parent_id: str | None) -> Iterator[None]:
    token = _launched_by.set((parent_id,))
    try:
        yield
    finally:
        _launched_by.reset(token)


def _leaves(members: Iterable[ResultBase]) -> Iterator[str]:
    for member in _results(members):
        yield member.id


def _results(members: Iterable[ResultBase]) -> Iterator[AsyncResult]:
    for member in members:
        if isinstance(member, GroupResult):
            yield from _results(member.results)
        else:
            yield member


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
