"""Chords without polling: the member that finishes last sends the body.

Who has finished is kept as a set (``jobs/record/chords.py``), so it does no harm when a member is told twice. Whoever
finds the set complete and the chord not done sends the body, whose tasks have had their ids since the chord was made:
sent twice, they are still the same tasks.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from celery import states
from celery.canvas import Signature, maybe_signature
from celery.exceptions import ChordError
from celery.result import GroupResult, ResultBase, result_from_tuple
from pymongo import ReturnDocument

from jobs.record import chords, fields
from jobs.record.chords import Chord, Part
from jobs.record.reads import Document
from jobs.record.writes import Write

if TYPE_CHECKING:
    from jobs.base_backend import BaseBackend

Meta = dict[str, Any]

logger = logging.getLogger(__name__)

# While a body is being sent: the task that made the chord. The one whose end sends the body is just the last of many.
_launched_by: ContextVar[tuple[str | None] | None] = ContextVar("launched_by", default=None)


def parent_of_message(parent_id: str | None) -> str | None:
    """The parent of a task that is being sent, for which Celery names the task that happens to send it."""
    launched_by = _launched_by.get()
    return parent_id if launched_by is None else launched_by[0]


class Chords:
    """The chords of one backend."""

    def __init__(self, backend: BaseBackend) -> None:
        self._backend = backend

    def begin(self, header: GroupResult, body: Signature) -> None:
        """Keep the shape of a chord before its members are sent."""
        json_form, sender = self._backend.json_form, self._backend.app.current_worker_task
        parent_id = parent_of_message(None if sender is None else sender.request.id)
        self._change(chords.begin(header.id, json_form(header.as_tuple()), json_form(body), parent_id))

    def expect(self, chord_id: str, size: int) -> None:
        """Set how many members have to finish; Celery knows that before it sends the last of them."""
        self._change(chords.expect(chord_id, size))

    def join(self, chord_id: str, task_id: str) -> None:
        """Let one more member have to finish: ``Task.add_to_chord``."""
        self._change(chords.join(chord_id, task_id))

    def finish(self, request: Any, result: Any, *, ignored: bool) -> None:
        """Note that a member has finished, and send the body after the last."""
        kept = self._backend.json_form(result) if ignored else None
        part = Part(request.id, request.group_index, ignored, kept)
        self._complete(self._change(chords.finish(request.group, part)), request.chord)

    def look_after(self, document: Document) -> None:
        """Finish what a worker that died may have left undone: members not counted, or the body not sent."""
        look = chords.look_after(document)
        if not self._backend.database[fields.CHORDS].update_one(*look).matched_count:
            return
        chord = chords.chord_from(document)
        counted = {part.task_id for part in chord.parts}
        members = [] if chord.header is None else result_from_tuple(chord.header, self._backend.app).results
        for record in self._backend.records_of([leaf for leaf in _leaves(members) if leaf not in counted]):
            if record.is_final:
                # What a member that ignores its result returned is lost with the worker.
                chord = self._change(chords.finish(chord.id, Part(record.id, ignored=record.forgotten)))
        self._complete(chord, chord.body)

    def _complete(self, chord: Chord, body: Any) -> None:
        """Send the body of a chord whose members have all finished."""
        if not chord.is_complete or chord.done:
            return
        with _sent_for(chord.parent_id):
            self._send(chord, maybe_signature(body, app=self._backend.app))
        self._change(chords.close(chord.id))

    def _send(self, chord: Chord, body: Signature) -> None:
        try:
            results = self._results_of(chord)
        except ChordError as error:
            logger.warning("Chord %s fails: %s", chord.id, error)
            self._backend.chord_error_from_stack(body, error)
            return
        try:
            self._backend.app.amqp._retry_publish(body.delay, results)  # noqa: SLF001 - as Celery's own backends do
        except Exception as error:
            logger.exception("The body of chord %s could not be sent", chord.id)
            self._backend.chord_error_from_stack(body, ChordError(f"Callback error: {error!r}"))

    def _results_of(self, chord: Chord) -> list[Any]:
        """The members' results in the order of the members, nested like them; those that joined later come last.

        Raises:
            ChordError: a member failed.
        """
        header = [] if chord.header is None else result_from_tuple(chord.header, self._backend.app).results
        planned = list(_leaves(header))
        joined = [part.task_id for part in chord.parts if part.task_id not in set(planned)]
        metas = self._backend.metas_of([*planned, *joined])
        for part in chord.parts:
            if part.ignored:
                metas[part.task_id] = {"status": states.SUCCESS, "result": self._backend.python_form(part.result)}
        return [*(_value_of(member, metas) for member in header), *(_result_of(task_id, metas) for task_id in joined)]

    def _change(self, write: Write) -> Chord:
        filter_, update = write
        collection = self._backend.database[fields.CHORDS]

        def change() -> Chord:
            document: Any = collection.find_one_and_update(
                filter_, update, upsert=True, return_document=ReturnDocument.AFTER
            )
            return chords.chord_from(document)

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
