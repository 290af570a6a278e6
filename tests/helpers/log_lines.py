"""The log of a task as its readers find it."""

from __future__ import annotations

from typing import Any

from pymongo.database import Database

from gql_api.record import fields, logs, queries
from gql_api.record.logs import LogLevel, LogLine


def log_of(database: Database[dict[str, Any]], task_id: str) -> list[LogLine]:
    """Read all lines of a task, as the primary has them: a majority may have those of its end a moment later."""
    tail = logs.tail_from(database[fields.TASKS].find_one(queries.by_id(task_id), logs.TAIL_ONLY))
    stored = map(logs.line_from, database[fields.TASK_LOGS].find(logs.after(task_id, 0, LogLevel.DEBUG)))
    return logs.merged([*stored], tail, 0, LogLevel.DEBUG)
