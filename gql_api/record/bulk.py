"""Changes of many tasks by one write each batch: who is meant, and what is done to them."""

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
    """What can be done to many."""

    CANCEL = "cancel"
    REPLAY = "replay"
    DELETE = "delete"


def matched(action: Action, wanted: Document, called_at: datetime) -> Document:
    """The filter that finds what an action has still to be done to, among the tasks that were there when it was called.

    One that it was done to is not found again, so that a call can be repeated until all is done: what was cancelled is
    final, or its end was asked for; what was replayed is marked. A replay is younger than the call that made it.
    """
    todo: dict[Action, Document] = {
        Action.CANCEL: {f.STATUS: {"$nin": FINAL_NAMES}, f.CANCEL_REQUESTED_AT: None},
        Action.REPLAY: {f.REPLAYED: {"$ne": True}},
        Action.DELETE: {f.STATUS: {"$in": FINAL_NAMES}},
    }
    return {"$and": [wanted, todo[action], {f.CREATED_AT: {"$lt": called_at}}]}


def cancel(task_ids: Sequence[str], matching: Document) -> list[Write]:
    """End those of some tasks that wait, and ask for the end of those that run. Run over many, one after the other.

    A task that does not match any more is left alone: check and write are one operation.
    """
    writes = [control.cancel_waiting("", None), control.request_cancel("", None, force=False)]
    return [({"$and": [{**filter_, f.ID: {"$in": list(task_ids)}}, matching]}, update) for filter_, update in writes]


def mark_replayed(task_ids: Sequence[str]) -> Write:
    """Remember that some tasks were replayed; no client sees it. Run over many."""
    return {f.ID: {"$in": list(task_ids)}}, [{"$set": {f.REPLAYED: True}}]
