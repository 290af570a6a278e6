"""What tasks have logged, as it is stored."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern

from gql_api.api.store.limiter import ConcurrencyLimiter, limited
from gql_api.record import fields, logs, queries
from gql_api.record.logs import LogLevel, LogLine


class LogLines:
    """Reads the lines of log.

    Args:
        database: the one that holds our collections.
        slots: what calls of MongoDB are made in.
    """

    def __init__(self, database: AsyncDatabase[dict[str, Any]], slots: ConcurrencyLimiter) -> None:
        self.slots = slots
        self._tasks = database[fields.TASKS]
        # A cursor must not name a line that a failover takes back.
        self._lines = database.get_collection(fields.TASK_LOGS, read_concern=ReadConcern("majority"))

    @limited
    async def after(self, task_id: str, position: int, level: LogLevel, limit: int) -> list[LogLine]:
        """Read what a task has logged, in order, after a position."""
        found = self._lines.find(logs.after(task_id, position, level))
        return [logs.line_from(document) async for document in found.sort(logs.IN_ORDER).limit(limit)]

    @limited
    async def counts(self, task_ids: Collection[str]) -> dict[str, int]:
        """Read how many lines some tasks have logged, by id."""
        found = self._tasks.find(queries.by_ids(list(task_ids)), logs.COUNTS_ONLY)
        return logs.counts_of([document async for document in found])
