"""The writes that set a record that does not fit aside, and that repair what can be derived."""

from __future__ import annotations

from typing import Any

from gql_api.record import fields as f
from gql_api.record.writes import NOW, REMOVE, Write, literal

_PROBLEM = "problem"


def set_aside(task_id: Any, problem: str) -> Write:
    """Take a record away from recovery, which goes by the times that are moved, until it is repaired."""
    kept = {f.DUE_AT: f"${f.DUE_AT}", f.EXPIRES_AT: f"${f.EXPIRES_AT}", f.AT: NOW, _PROBLEM: literal(problem)}
    return {f.ID: task_id}, [{"$set": {f.SET_ASIDE: kept, f.DUE_AT: REMOVE, f.EXPIRES_AT: REMOVE}}]
