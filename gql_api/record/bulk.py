"""The actions on many tasks: the filter of the tasks that an action applies to, and its writes, one a batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from gql_api.record import control
from gql_api.record import fields as f
from gql_api.record.fields import FINAL_NAMES
from gql_api.record.reads import Document
from gql_api.record.writes import Write


class Action(StrEnum):
    """An action on many tasks."""

    CANCEL = "cancel"
    REPLAY = "replay"
    DELETE = "delete"


def matched(action: Action, query: Document, called_at: datetime) -> Document:
    """Return the filter that finds the tasks of a query that existed at the call and still need the action."""
    # The action takes a task out of the filter, so that a call can be repeated until no task is left: a cancelled task
    # is final or has a cancel request, a replayed task is marked. A replay is younger than the call that made it.
    todo: dict[Action, Document] = {
        Action.CANCEL: {f.STATUS: {"$nin": FINAL_NAMES}, f.CANCEL_REQUESTED_AT: None},
        Action.REPLAY: {f.REPLAYED: {"$ne": True}},
        Action.DELETE: {f.STATUS: {"$in": FINAL_NAMES}},
    }
    return {"$and": [query, todo[action], {f.CREATED_AT: {"$lt": called_at}}]}


def cancel(task_ids: Sequence[str], matching: Document, actor: str | None) -> list[Write]:
    """Revoke those of some tasks that wait, and request the end of those that run. Run both over many, in this order.

    A task that has stopped matching does not change: check and write are one operation.
    """
    return [
        control.cancel_waiting(task_ids, None, actor=actor, matching=matching),
        control.request_cancel(task_ids, None, actor=actor, force=False, matching=matching),
    ]


def mark_replayed(task_ids: Sequence[str]) -> Write:
    """Mark some tasks as replayed, which filters find, and no event has. Run over many."""
    return {f.ID: {"$in": list(task_ids)}}, [{"$set": {f.REPLAYED: True}}]
