"""Store, then publish: the only place where the API changes task records and publishes their events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gql_api import events
from gql_api.access.visibility import EVERYTHING, Visibility
from gql_api.api.store.tasks import Document, TaskStore
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Write

logger = logging.getLogger(__name__)

_NO_PUSHES: Mapping[str, Sequence[str]] = MappingProxyType({})


class Changes:
    """A writer of task records that publishes the event of each stored change."""

    def __init__(self, store: TaskStore, redis: Redis) -> None:
        self._store = store
        self._redis = redis

    async def apply(self, write: Write, visibility: Visibility) -> TaskRecord | None:
        """Apply one conditional write and publish its event; return None when no visible record matched."""
        document = await self._store.change(write, visibility)
        if document is None:
            return None
        await self.announce([document])
        return TaskRecord(document)

    async def announce(self, documents: Sequence[Document]) -> None:
        """Publish the events of records that were just stored."""
        if len(documents) == 1:
            await self._publish(_events(documents))
        else:
            # Many documents take long to encode, and other requests must not wait for that.
            await self._publish(await asyncio.to_thread(_events, documents))

    async def announce_small(
        self, documents: Sequence[Document], pushes: Mapping[str, Sequence[str]] = _NO_PUSHES
    ) -> bool:
        """Publish the events of records that were just stored, and are small. Return whether Redis has received all.

        ``pushes`` are messages for lists of the same Redis, which share the round trip.
        """
        return await self._publish(_events(documents), pushes)

    async def apply_many(self, writes: Sequence[Write], revisions: Mapping[str, int], visibility: Visibility) -> int:
        """Apply writes on many visible records, publish the events, and return the number of changes.

        Args:
            writes: applied one after the other.
            revisions: the revision of each task before the writes, by id.
            visibility: which of the tasks there are for the caller.
        """
        count = await self._store.change_many(writes, visibility)
        # For the event: a change may have taken a task out of the visibility.
        documents = await self._store.documents(list(revisions), EVERYTHING)
        await self.announce([each for each in documents if TaskRecord(each).revision > revisions[TaskRecord(each).id]])
        return count

    async def delete(self, task_ids: Sequence[str], visibility: Visibility) -> int:
        """Delete the visible final tasks among these, publish their events, and return how many this call deleted."""
        deleted, count = await self._store.deletions.delete(task_ids, visibility)
        await self._publish([(TaskRecord(last).id, events.deleted(last, at)) for last, at in deleted])
        return count

    async def _publish(
        self, messages: list[tuple[str, bytes]], pushes: Mapping[str, Sequence[str]] = _NO_PUSHES
    ) -> bool:
        if not messages:
            return True
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for task_id, event in messages:
                    pipeline.publish(self._store.channels.task(task_id), event)
                for key, values in pushes.items():
                    pipeline.lpush(key, *values)
                await pipeline.execute()
        except RedisError as error:
            # The change is stored, and watchers find it when they read MongoDB again: the call must not fail.
            logger.warning("The events of %d tasks were not published: %s", len(messages), error)
            return False
        return True


def _events(documents: Sequence[Document]) -> list[tuple[str, bytes]]:
    return [(TaskRecord(document).id, events.encode(document)) for document in documents]
