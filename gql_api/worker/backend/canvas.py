"""Celery's saved groups, and the tasks inside its signatures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from celery.canvas import Signature, _chain, _chord, group
from celery.result import GroupResult, result_from_tuple
from pymongo.collection import Collection

from gql_api.record import canvas, fields, queries
from gql_api.record.fields import is_internal
from gql_api.record.reads import Document
from gql_api.worker.backend.codec import Codec
from gql_api.worker.store.connections import Connections

if TYPE_CHECKING:
    from celery import Celery


class Groups:
    """The groups that callers have saved, kept until they expire."""

    def __init__(self, app: Celery, connections: Connections, codec: Codec) -> None:
        self._app = app
        self._connections = connections
        self._codec = codec

    @property
    def collection(self) -> Collection[Document]:
        """The saved groups in MongoDB."""
        return self._connections.database()[fields.GROUPS]

    def save(self, group_id: str, result: GroupResult) -> None:
        """Store a group."""
        filter_, update = canvas.save_group(group_id, self._codec.json_form(result.as_tuple()))
        self.collection.update_one(filter_, update, upsert=True)

    def restore(self, group_id: str) -> dict[str, Any] | None:
        """Read what Celery keeps of a group."""
        document = self.collection.find_one(queries.by_id(group_id))
        if document is None:
            return None
        members = self._codec.python_form(canvas.members_of(document))
        return {"task_id": group_id, "result": result_from_tuple(members, self._app)}

    def delete(self, group_id: str) -> None:
        """Delete a group."""
        self.collection.delete_one(queries.by_id(group_id))

    def expire(self, seconds: float) -> None:
        """Delete the groups that have not changed for so long."""
        self.collection.delete_many(queries.untouched_for(seconds))


def tasks_in(chain: Any) -> Iterator[Any]:
    """Yield the tasks of a chain, those in its groups and chords included."""
    for step in chain or ():
        if step.get("subtask_type") in {"group", "chain"}:
            yield from tasks_in(step["kwargs"]["tasks"])
            continue
        if step.get("subtask_type") == "chord":
            header = step["kwargs"]["header"]
            yield from tasks_in(header["kwargs"]["tasks"] if isinstance(header, Mapping) else header)
        yield step


def tasks_waited_for(body: Signature) -> Iterator[Signature]:
    """Yield the tasks whose results are the result of a chord's body."""
    if isinstance(body, group):
        for member in body.tasks:
            yield from tasks_waited_for(member)
    elif isinstance(body, _chord):
        yield from tasks_waited_for(body.body)
    elif isinstance(body, _chain):
        yield from tasks_waited_for(body.tasks[-1])
    elif body.id is not None and not is_internal(body.task):
        yield body
