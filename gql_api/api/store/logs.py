"""The stored log lines of tasks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from gql_api.access.visibility import Visibility
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
        self._records = database.get_collection(fields.TASKS, read_concern=MAJORITY)
        self._lines = database.get_collection(fields.TASK_LOGS, read_concern=MAJORITY)

    async def after(
        self, task_id: str, position: int, level: LogLevel, limit: int, visibility: Visibility
    ) -> list[LogLine]:
        """Read the lines of a task after a position, in order, from a level up; none if the task is not visible.

        No line is missing that was stored before the last barrier, and none of a task whose end the primary shows.
        """
        lines = await self._read(task_id, position, level, limit)
        if lines is None:
            await self._committed.barrier()
            lines = await self._read(task_id, position, level, limit, is_behind_barrier=True) or []
        # Behind the read of the lines: the task is visible at a time when all of them existed.
        return lines if not lines or await self._is_visible(task_id, visibility) else []

    @limited
    async def _read(
        self, task_id: str, position: int, level: LogLevel, limit: int, *, is_behind_barrier: bool = False
    ) -> list[LogLine] | None:
        """Read lines that no failover can roll back; None if the primary shows an end that no majority has yet."""
        async with self._committed.session() as session:
            # Before the lines: a task with a tail has ended, and all of its other lines are stored.
            tail = logs.tail_from(await self._tasks.find_one(queries.by_id(task_id), logs.TAIL_ONLY))
            if tail:
                record = await self._records.find_one(queries.by_id(task_id), logs.TAIL_ONLY, session=session)
                tail = logs.tail_from(record)
                if not tail and not is_behind_barrier:
                    return None
            found = self._lines.find(logs.after(task_id, position, level), session=session)
            stored = [logs.line_from(document) async for document in found.sort(logs.IN_ORDER).limit(limit)]
        return logs.merged(stored, tail, position, level)[:limit]

    async def _is_visible(self, task_id: str, visibility: Visibility) -> bool:
        if visibility.sees_everything:
            return True
        query = visibility.narrowed(queries.by_id(task_id))
        return await self._tasks.find_one(query, queries.ID_ONLY) is not None

    @limited
    async def counts(self, task_ids: Collection[str], visibility: Visibility) -> dict[str, int]:
        """Read the number of lines that each visible one of these tasks has logged, by id."""
        found = self._tasks.find(visibility.narrowed(queries.by_ids(list(task_ids))), logs.COUNTS_ONLY)
        return logs.counts_of([document async for document in found])
