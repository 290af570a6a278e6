"""A world with tasks of all principals, which are related across their owners, and a second rule of who sees what."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from front import Commands, Front
from owners import PRINCIPALS
from pymongo.collection import Collection

from gql_api.record import fields, logs, writes
from gql_api.record.logs import LogLevel, LogLine
from gql_api.record.model import ErrorInfo, NewTask
from gql_api.record.reads import Document
from gql_api.worker.store.tasks import Store

UNKNOWN = str(uuid.uuid4())

# Written by hand, so that a mistake in a visibility is not in its test too.
_SEES: dict[str, Callable[[Document], bool]] = {
    "alice": lambda task: (task.get("owner"), task.get("tenant")) == ("alice", "acme"),
    "bob": lambda task: (task.get("owner"), task.get("tenant")) == ("bob", "acme"),
    "carol": lambda task: (task.get("owner"), task.get("tenant")) == ("alice", "globex"),
    "red": lambda task: (
        (task.get("owner"), task.get("tenant"), task["metadata"].get("team")) == ("alice", "acme", "red")
    ),
    "head": lambda task: task.get("tenant") == "acme",
    "admin": lambda _: True,
}
# The owner and the tenant of each family of tasks.
_FAMILIES = {
    "alice": ("alice", "acme"),
    "red": ("alice", "acme"),
    "bob": ("bob", "acme"),
    "carol": ("alice", "globex"),
    "nobody": (None, None),
}


@dataclass(frozen=True)
class World:
    """The tasks of all principals."""

    front: Front
    tasks: Collection[Document]
    commands: Commands

    def acting_as(self, name: str) -> Front:
        """Return the services for a principal."""
        return self.front.acting_as(PRINCIPALS[name])

    def documents(self, name: str, *, visible: bool = True) -> list[Document]:
        """Return the records that a principal sees, or those that it does not."""
        return [each for each in self.tasks.find({}).sort("_id") if _SEES[name](each) is visible]

    def ids(self, name: str, *, visible: bool = True) -> set[str]:
        """Return the ids of those records."""
        return {each["_id"] for each in self.documents(name, visible=visible)}

    def check_no_leak(self, name: str, answer: object, but: str = "") -> None:
        """Check that an answer has no id and no value of a task that a principal does not see."""
        text = json.dumps(answer, default=str)
        for hidden in self.documents(name, visible=False):
            assert hidden["_id"] == but or hidden["_id"] not in text
            assert f"secret-{hidden['_id']}" not in text


_KINDS = ("root", "child", "replay", "later", "ended", "strange", "beyond")


def make_tasks(worker: Store, tasks: Collection[Document]) -> None:
    """Make the tasks of each family: a root with a child, a replay and a later task, and one that has ended."""
    ids = {(family, kind): str(uuid.uuid4()) for family in _FAMILIES for kind in _KINDS}
    for family in _FAMILIES:
        _make_family(worker, family, ids)
    lines = [LogLine(1, datetime.now(UTC), LogLevel.INFO, f"log of secret-{id_}") for id_ in ids.values()]
    tasks.database[fields.TASK_LOGS].insert_many(
        [logs.document_of(ObjectId(), id_, line) for id_, line in zip(ids.values(), lines, strict=True)]
    )


def _make_family(worker: Store, family: str, ids: dict[tuple[str, str], str]) -> None:
    owner, tenant = _FAMILIES[family]
    families = [*_FAMILIES]
    position = families.index(family)
    before, after = families[position - 1], families[(position + 1) % len(families)]
    root, foreign = ids[family, "root"], ids[before, "root"]
    relations: dict[str, dict[str, Any]] = {
        "root": {},
        "child": {"parent_id": root, "root_id": root},
        "replay": {"replay_of": root},
        "later": {"scheduled_for": datetime.now(UTC) + timedelta(days=1)},
        "ended": {"parent_id": root},
        # A task whose parent and whose original belong to somebody else.
        "strange": {"parent_id": foreign, "replay_of": foreign},
        # A grandchild of the root, by a task of somebody else.
        "beyond": {"parent_id": ids[after, "strange"]},
    }
    for number, kind in enumerate(_KINDS):
        id_ = ids[family, kind]
        metadata: dict[str, Any] = {"secret": f"secret-{id_}", "n": number}
        if family == "red":
            metadata["team"] = "red"
        task = NewTask(id_, "add", kwargs={"x": 1}, metadata=metadata, owner=owner, tenant=tenant, queue="sums")
        worker.change(writes.create(replace(task, **relations[kind])), upsert=True)
    error = ErrorInfo("ValueError", f"error of secret-{ids[family, 'beyond']}")
    worker.change(writes.retry(ids[family, "beyond"], error, due_in=86_400.0))
    ended = ids[family, "ended"]
    worker.change(writes.start(ended, worker=f"worker of {family}"))
    worker.change(writes.succeed(ended, f"result of secret-{ended}"))
