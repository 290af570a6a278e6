"""Celery's saved groups, the tasks inside its signatures, and the records of those that are sent later."""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from celery.canvas import Signature, _chain, _chord, group
from celery.result import GroupResult, result_from_tuple
from kombu.exceptions import OperationalError
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from gql_api.access.owner_signature import Owner
from gql_api.record import canvas, due, fields, queries
from gql_api.record.fields import Status, WaitsKind, is_internal
from gql_api.record.model import ErrorInfo, NewTask
from gql_api.record.reads import Document
from gql_api.record.writes import Write
from gql_api.worker.backend.codec import Codec
from gql_api.worker.backend.messages import METADATA_HEADER, queue_of, text_id
from gql_api.worker.backend.translation import RedactionOf, arguments_of
from gql_api.worker.state import cancellation
from gql_api.worker.state.unrecorded import is_unrecorded_function
from gql_api.worker.store.chords import Retry
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

# How many later steps of a chain are recorded when its first one is sent. Those behind them are recorded when they are
# sent themselves.
_MAX_LATER_STEPS = 1000


class Step(NamedTuple):
    """A task that is sent later, the id of the task that sends it or makes its chord, and how it is sent."""

    task: Any
    sender_id: str | None
    kind: WaitsKind


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


class LaterSteps:
    """The records of tasks that are sent when others have ended: later steps of chains, and the bodies of chords.

    They are created when the first part is sent, so that clients find them by the ids that its sender knows.
    """

    def __init__(self, app: Celery, store: Store, codec: Codec, retry: Retry, redaction_of: RedactionOf) -> None:
        self._app = app
        self._store = store
        self._codec = codec
        self._retry = retry
        self._redaction_of = redaction_of

    def record(self, task: NewTask) -> None:
        """Create the records of the steps after a task that is sent now."""
        chain = None if task.message is None else task.message.embed.get("chain")
        if chain:
            owner = Owner(task.owner, task.tenant)
            self._record(steps_after(chain, task.id), task.id, task.root_id or task.id, owner, {task.id})

    def record_body(self, body: Any, chord: canvas.Chord) -> None:
        """Create the records of the body of a chord and of the steps after it, once its members are sent."""
        owner = Owner(chord.owner, chord.tenant)
        self._record(steps_of_body(body, chord.parent_id), chord.id, body["options"].get("root_id"), owner, set())

    def end(self, task_ids: list[str], error: ErrorInfo | None, status: Status) -> None:
        """End those of some steps that were not sent."""
        token = uuid.uuid4().hex
        actor = cancellation.actor() if status is Status.REVOKED else None
        write = canvas.end_waiting(task_ids, error, status, token, actor=actor)
        taken = due.taken(task_ids, token, status)
        self._retry(lambda: self._store.change_many(write, taken))

    def end_after(self, task_id: str, error: ErrorInfo | None) -> None:
        """Revoke the steps that were to follow a step that was revoked before it was sent."""
        found = [task_id]
        while found := self._store.ids(canvas.waiting_after(found)):
            self.end(found, error, Status.REVOKED)

    def _record(
        self, steps: Iterator[Step], first_id: str, root_id: str | None, owner: Owner, recorded: set[str]
    ) -> None:
        token = uuid.uuid4().hex
        try:
            of_all = NewTask("", "", root_id=root_id, owner=owner.subject, tenant=owner.tenant, sender_token=token)
            writes = self._writes(steps, first_id, of_all, recorded)
            if writes:
                self._retry(lambda: self._store.create_missing(writes, token))
        except (PyMongoError, OperationalError) as error:
            # The first one is accepted already. These get their records when they are sent.
            logger.warning("The tasks that follow %s are not recorded yet: %s", first_id, error)

    def _writes(self, steps: Iterator[Step], first_id: str, of_all: NewTask, recorded: set[str]) -> dict[str, Write]:
        """Return the writes that create the records of some steps, by their ids. ``of_all`` has what they share.

        It reads what workers have announced of functions that this process does not know.
        """
        writes: dict[str, Write] = {}
        # The tasks that are not recorded, and the nearest one before each that is.
        before: dict[str | None, str | None] = {}
        for step, sender_id, sent in itertools.islice(steps, _MAX_LATER_STEPS):
            parent_id = before.get(sender_id, sender_id)
            if is_unrecorded_function(self._app, step["task"]):
                before[text_id(step["options"]["task_id"])] = parent_id
                continue
            new = self._new_task(step, parent_id, of_all)
            kind = _kind(sent, parent_id, is_behind_unrecorded=sender_id in before, recorded=recorded)
            waits_for = first_id if kind is WaitsKind.CHORD else parent_id or first_id
            writes[new.id] = canvas.await_step(new, waits_for, kind)
            recorded.add(new.id)
        return writes

    def _new_task(self, step: Any, parent_id: str | None, of_all: NewTask) -> NewTask:
        options = step["options"]
        metadata = self._codec.plain_form((options.get("headers") or {}).get(METADATA_HEADER))
        real, shown = arguments_of(step, self._codec.json_form, self._redaction_of(step["task"]))
        return replace(
            of_all,
            id=text_id(options["task_id"]),
            name=step["task"],
            args=real.args,
            kwargs=real.kwargs,
            shown=shown,
            # What is wrong with it is an error when the step is sent.
            metadata=metadata if isinstance(metadata, dict) else {},
            queue=self._queue(step),
            parent_id=parent_id,
        )

    def _queue(self, step: Any) -> str:
        """Return the queue that a step will be sent to if nothing changes."""
        app, name = self._app, step["task"]
        task = app.tasks.get(name)
        own = {} if task is None else task._get_exec_options()  # noqa: SLF001 - as in Celery's apply_async
        try:
            options = app.amqp.router.route({**own, **step["options"]}, name, step["args"], step["kwargs"], task)
        except Exception:  # noqa: BLE001 - a router of the application's may expect the arguments of the real call
            return str(app.conf.task_default_queue)
        queue, exchange = (getattr(options.get(name), "name", options.get(name)) for name in ("queue", "exchange"))
        return queue_of(app, queue, exchange, options.get("routing_key"))


def _kind(
    sent: WaitsKind, parent_id: str | None, *, is_behind_unrecorded: bool, recorded: set[str]
) -> WaitsKind | None:
    """Return how a step is sent, if the end of its predecessor decides whether it will be sent; otherwise None.

    Args:
        sent: how it is sent after its sender.
        parent_id: the nearest task before it that may have a record.
        is_behind_unrecorded: whether there is a task without a record between the two.
        recorded: the tasks whose ends begin what follows them, and which are recorded by now.
    """
    if sent is WaitsKind.CHORD:
        return sent
    # The others follow one of Celery's own tasks, or the function that has made their chord, whatever becomes of it.
    if parent_id not in recorded:
        return None
    return WaitsKind.LATER if is_behind_unrecorded else sent


def steps_after(chain: Any, step_id: str | None) -> Iterator[Step]:
    """Yield the tasks that follow a step, each with the id of the task that sends it.

    Args:
        chain: the remaining steps, in the order of Celery's messages: the next step comes last.
        step_id: the step.
    """
    for step in reversed(chain):
        yield from _tasks_of(step, step_id, WaitsKind.NEXT)
        step_id = _last_id(step)


def steps_of_body(body: Any, parent_id: str | None) -> Iterator[Step]:
    """Yield the tasks of a chord's body and those that follow it, each with the id of the task that sends it."""
    yield from _tasks_of(body, parent_id, WaitsKind.CHORD)
    yield from steps_after(body["options"].get("chain") or (), _last_id(body))


def check_chords(app: Celery, steps: Any) -> None:
    """Check that the members of all chords among some steps have results, which their bodies need.

    Raises:
        ValueError: a member is not recorded.
    """
    for step in steps or ():
        kind = step.get("subtask_type")
        if kind == "chord":
            for member in _members_of(step):
                check_member(app, _last_name(member))
            check_chords(app, [*_members_of(step), step["kwargs"]["body"]])
        elif kind in {"group", "chain"}:
            check_chords(app, step["kwargs"]["tasks"])


def check_member(app: Celery, name: str | None) -> None:
    """Check that the result of a task can be a part of the result of its chord.

    Raises:
        ValueError: the task is not recorded.
    """
    if is_unrecorded_function(app, name):
        raise ValueError(
            f"task {name}: it is not recorded (record=False), so the chord that it is a member of cannot get its "
            "result: record it, or take it out of the chord, or out of the group before another step"
        )


def _last_name(step: Any) -> str | None:
    kind = step.get("subtask_type")
    if kind == "chord":
        return _last_name(step["kwargs"]["body"])
    if kind == "chain":
        return _last_name(step["kwargs"]["tasks"][-1])
    name: str | None = None if kind == "group" else step["task"]
    return name


def _tasks_of(step: Any, sender_id: str | None, sent: WaitsKind) -> Iterator[Step]:
    kind = step.get("subtask_type")
    if kind == "group":
        for member in step["kwargs"]["tasks"]:
            yield from _tasks_of(member, sender_id, sent)
    elif kind == "chain":
        for inner in step["kwargs"]["tasks"]:
            yield from _tasks_of(inner, sender_id, sent)
            sender_id, sent = _last_id(inner), WaitsKind.NEXT
    elif kind == "chord":
        for member in _members_of(step):
            yield from _tasks_of(member, sender_id, sent)
        yield from _tasks_of(step["kwargs"]["body"], sender_id, WaitsKind.LATER)
    elif step["options"].get("task_id") is not None and not is_internal(step["task"]):
        yield Step(step, sender_id, sent)


def _last_id(step: Any) -> str | None:
    """Return the id of the task whose end is that of a step; None if a step has no such task."""
    kind = step.get("subtask_type")
    if kind == "chord":
        return _last_id(step["kwargs"]["body"])
    if kind == "chain":
        return _last_id(step["kwargs"]["tasks"][-1])
    task_id: str | None = None if kind == "group" else text_id(step["options"].get("task_id"))
    return task_id


def _members_of(chord: Any) -> Any:
    header = chord["kwargs"]["header"]
    return header["kwargs"]["tasks"] if isinstance(header, Mapping) else header


def tasks_in(chain: Any) -> Iterator[Any]:
    """Yield the tasks of a chain, those in its groups and chords included."""
    for step in chain or ():
        if step.get("subtask_type") in {"group", "chain"}:
            yield from tasks_in(step["kwargs"]["tasks"])
            continue
        if step.get("subtask_type") == "chord":
            yield from tasks_in(_members_of(step))
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
