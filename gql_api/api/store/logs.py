"""The stored log lines of tasks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from gql_api.api.store.committed import MAJORITY, CommittedReads
from gql_api.api.store.limiter import ConcurrencyLimiter, limited
from gql_api.record import fields, logs, queries
from gql_api.record.logs import LogLevel, LogLine


class LogLines:
    """A reader of log lines.

    Args:
        database: the one with the collections of this project.
        limiter: bounds the calls of MongoDB.
        committed: the barriers of this process.
    """

    def __init__(
        self, database: AsyncDatabase[dict[str, Any]], limiter: ConcurrencyLimiter, committed: CommittedReads
    ) -> None:
        self.limiter = limiter
        self._committed = committed
        self._tasks = database[fields.TASKS]
        # A cursor must not name a line that a failover can roll back.
        self._lines = database.get_collection(fields.TASK_LOGS, read_concern=MAJORITY)

    @limited
    async def after(self, task_id: str, position: int, level: LogLevel, limit: int) -> list[LogLine]:
        """Read the lines of a task after a position, in order, from a level up.

        No line is missing that was stored before the last barrier.
        """
        async with self._committed.session() as session:
            found = self._lines.find(logs.after(task_id, position, level), session=session)
            return [logs.line_from(document) async for document in found.sort(logs.IN_ORDER).limit(limit)]

    @limited
    async def counts(self, task_ids: Collection[str]) -> dict[str, int]:
        """Read the number of lines that each of these tasks has logged, by id."""
        found = self._tasks.find(queries.by_ids(list(task_ids)), logs.COUNTS_ONLY)
        return logs.counts_of([document async for document in found])
