"""The log of a task as its readers find it."""

from __future__ import annotations

from typing import Any

from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from gql_api.record import fields, logs, queries
from gql_api.record.logs import LogLevel, LogLine


def log_of(database: Database[dict[str, Any]], task_id: str) -> list[LogLine]:
    """Read all lines of a task that a majority has."""
    tasks, lines = (
        database.get_collection(name, read_concern=ReadConcern("majority")) for name in (fields.TASKS, fields.TASK_LOGS)
    )
    tail = logs.tail_from(tasks.find_one(queries.by_id(task_id), logs.TAIL_ONLY))
    stored = [logs.line_from(line) for line in lines.find(logs.after(task_id, 0, LogLevel.DEBUG))]
    return logs.merged(stored, tail, 0, LogLevel.DEBUG)
