"""Reads of the announced task functions: by name, and for tasks that wait for workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from gql_api import values
from gql_api.access.visibility import Visibility
from gql_api.api.store.limiter import ConcurrencyLimiter, limited
from gql_api.record import fields, queries, reads
from gql_api.record.reads import Document, TaskRecord
from gql_api.registry import versions, workers
from gql_api.registry.definitions import TaskDefinition


@dataclass(frozen=True, slots=True)
class DefinitionRead:
    """A read of the function with a name; in the version that a task was made for, if that waits."""

    name: str
    waiting_id: str | None = None


class Definitions:
    """A reader of task definitions.

    Args:
        database: the database of the API.
        limiter: bounds the calls of MongoDB.
    """

    def __init__(self, database: AsyncDatabase[Document], limiter: ConcurrencyLimiter) -> None:
        self.limiter = limiter
        self._definitions = database[fields.DEFINITIONS]
        self._tasks = database.get_collection(fields.TASKS, codec_options=reads.FAST_CODEC)

    @limited
    async def all(self, names: list[str] | None = None) -> list[TaskDefinition]:
        """Read the definitions of all functions, or of those with some names, by name."""
        rows = await self._definitions.aggregate(workers.definitions_with_workers(names))
        return workers.definitions_from([row async for row in rows])

    async def read(self, definition_reads: list[DefinitionRead], visibility: Visibility) -> list[TaskDefinition | None]:
        """Read definitions, with None for each function that no worker has announced.

        The version that a waiting task was made for is read if the task is visible.
        """
        found = {each.name: each for each in await self.all(sorted({read.name for read in definition_reads}))}
        waiting = [read for read in definition_reads if read.waiting_id is not None and read.name in found]
        own = await self._of_waiting(waiting, found, visibility) if waiting else {}
        return [own.get(read.waiting_id or "") or found.get(read.name) for read in definition_reads]

    async def _of_waiting(
        self, waiting: list[DefinitionRead], found: dict[str, TaskDefinition], visibility: Visibility
    ) -> dict[str, TaskDefinition]:
        """Return the definitions for tasks that were made for another version, or for one that no live worker has."""
        wanted = await self._versions({read.waiting_id or "" for read in waiting}, visibility)
        own: dict[str, TaskDefinition] = {}
        unclear: dict[str, TaskDefinition] = {}
        for read in waiting:
            task_id, definition = read.waiting_id or "", found[read.name]
            version = versions.for_version(definition, wanted.get(task_id))
            if version is None:
                unclear[task_id] = definition
            else:
                own[task_id] = version
        # Of each of these the arguments decide, which may be large: one is read at a time.
        for task_id, definition in unclear.items():
            call = await self._call(task_id, visibility)
            if call is not None:
                own[task_id] = versions.for_call(definition, wanted[task_id], *call)
        return own

    @limited
    async def _versions(self, task_ids: Iterable[str], visibility: Visibility) -> dict[str, str | None]:
        texts = [task_id for task_id in task_ids if values.is_text(task_id)]
        found = self._tasks.find(visibility.narrowed(queries.by_ids(texts)), queries.VERSION_ONLY)
        return {record.id: queries.version_of(record) for record in map(TaskRecord, await found.to_list())}

    @limited
    async def _call(self, task_id: str, visibility: Visibility) -> tuple[list[Any], dict[str, Any]] | None:
        document = await self._tasks.find_one(visibility.narrowed(queries.by_id(task_id)), queries.CALL_ONLY)
        return None if document is None else queries.call_of(TaskRecord(document))
