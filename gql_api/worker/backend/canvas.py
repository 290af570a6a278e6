"""The part of the result backend that Celery's canvas calls: saved groups, and chords."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery.canvas import Signature, _chain, _chord, group
from celery.result import AsyncResult, GroupResult, result_from_tuple
from pymongo.collection import Collection

from gql_api.record import canvas, fields, queries
from gql_api.record.fields import is_internal
from gql_api.record.reads import Document
from gql_api.settings import Settings
from gql_api.worker.backend.base import BaseBackend
from gql_api.worker.backend.chords import Chords, parent_of_message
from gql_api.worker.backend.translation import unsent

if TYPE_CHECKING:
    from celery import Celery


_MAX_CHORDS = 100


class CanvasBackend(BaseBackend):
    """Groups are kept until they expire; a chord is completed by its last member."""

    def __init__(self, app: Celery, settings: Settings | None = None, **kwargs: Any) -> None:
        super().__init__(app, settings, **kwargs)
        self._chords = Chords(self)

    @property
    def group_collection(self) -> Collection[Document]:
        """Celery's saved groups."""
        return self.database[fields.GROUPS]

    def apply_chord(self, header_result_args: Any, body: Signature, **_: Any) -> None:
        """Prepare for the members of a chord, which are sent next. Celery's options for polling have no use here."""
        self._chords.begin(self.app.GroupResult(*header_result_args), body)

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Say how many members a chord has."""
        self._chords.expect(group_id, chord_size)

    def add_to_chord(self, chord_id: str, result: AsyncResult) -> None:
        """Let a task join the chord of the task that is running."""
        self._chords.join(chord_id, result.id)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Count a finished member of a chord, whose result is in its record; the last one sends the body."""
        if request.id and request.group:
            self._chords.finish(request)

    def _fail_chain(self, chain: Any, *args: Any, **kwargs: Any) -> None:
        """Fail what would have followed a failed task, the members of groups too: somebody may wait for those."""
        super()._fail_chain(list(_tasks_in(chain)), *args, **kwargs)

    def chord_error_from_stack(self, callback: Signature, exc: BaseException | None = None) -> Any:
        """Fail the body of a chord in its members' place. It is a task that somebody waits for: it gets a record."""
        for body in _tasks_waited_for(callback):
            parent_id, queue = parent_of_message(body.options.get("parent_id")), self.app.conf.task_default_queue
            task = unsent(body, self.json_form, parent_id=parent_id, default_queue=queue)
            self.when_store_answers(functools.partial(self.create_record, self.store, task))
        return super().chord_error_from_stack(callback, exc)

    def look_after_chords(self, unfinished_since: datetime) -> None:
        """Finish chords that workers left undone; see :meth:`gql_api.worker.backend.chords.Chords.look_after`."""
        for document in self.database[fields.CHORDS].find(canvas.unfinished_since(unfinished_since)).limit(_MAX_CHORDS):
            self._chords.look_after(document)

    def cleanup(self) -> None:
        """Delete expired groups and chords. Tasks are kept: they are what this backend is for."""
        if self.expires:
            self.group_collection.delete_many(queries.untouched_for(self.expires))
            self._chords.expire(self.expires)

    def _save_group(self, group_id: str, result: GroupResult) -> GroupResult:
        filter_, update = canvas.save_group(group_id, self.json_form(result.as_tuple()))
        self.group_collection.update_one(filter_, update, upsert=True)
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        document = self.group_collection.find_one(queries.by_id(group_id))
        if document is None:
            return None
        members = self.python_form(canvas.members_of(document))
        return {"task_id": group_id, "result": result_from_tuple(members, self.app)}

    def _delete_group(self, group_id: str) -> None:
        self.group_collection.delete_one(queries.by_id(group_id))


def _tasks_in(chain: Any) -> Iterator[Any]:
    for step in chain or ():
        if step.get("subtask_type") in {"group", "chain"}:
            yield from _tasks_in(step["kwargs"]["tasks"])
            continue
        if step.get("subtask_type") == "chord":
            header = step["kwargs"]["header"]
            yield from _tasks_in(header["kwargs"]["tasks"] if isinstance(header, Mapping) else header)
        yield step


def _tasks_waited_for(body: Signature) -> Iterator[Signature]:
    """The tasks whose results are the result of a chord's body."""
    if isinstance(body, group):
        for member in body.tasks:
            yield from _tasks_waited_for(member)
    elif isinstance(body, _chord):
        yield from _tasks_waited_for(body.body)
    elif isinstance(body, _chain):
        yield from _tasks_waited_for(body.tasks[-1])
    elif body.id is not None and not is_internal(body.task):
        yield body
