"""Store, then announce: the one place where the API changes task records."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gql_api import events
from gql_api.api.store.tasks import Document, TaskStore
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Write

logger = logging.getLogger(__name__)


class Changes:
    """Makes changes of records and publishes their events."""

    def __init__(self, store: TaskStore, redis: Redis) -> None:
        self._store = store
        self._redis = redis

    async def make(self, write: Write) -> TaskRecord | None:
        """Make one conditional change and publish its event; None when the record did not take it."""
        document = await self._store.change(write)
        if document is None:
            return None
        await self.announce([document])
        return TaskRecord(document)

    async def announce(self, documents: Sequence[Document]) -> None:
        """Publish the events of records just stored."""
        if len(documents) == 1:
            await self._publish(_events(documents))
        else:
            await self._publish(await asyncio.to_thread(_events, documents))

    async def make_many(self, writes: Sequence[Write], revisions: Mapping[str, int]) -> int:
        """Make changes of many records, publish the event of each that has changed, and return how many were changed.

        Args:
            writes: run over many, one after the other.
            revisions: at which revision each of these tasks was read before, by id.
        """
        count = await self._store.change_many(writes)
        documents = await self._store.documents(list(revisions))
        await self.announce([each for each in documents if TaskRecord(each).revision > revisions[TaskRecord(each).id]])
        return count

    async def delete(self, task_ids: Sequence[str]) -> int:
        """Delete those of some tasks that are final; return how many this call deleted."""
        deleted, count = await self._store.deletions.delete(task_ids)
        await self._publish([(TaskRecord(last).id, events.deleted(last, at)) for last, at in deleted])
        return count

    async def _publish(self, news: list[tuple[str, bytes]]) -> None:
        """The record is the truth: news that is lost is logged, and is no error of the call."""
        if not news:
            return
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for task_id, event in news:
                    pipeline.publish(events.channel(task_id), event)
                await pipeline.execute()
        except RedisError as error:
            logger.warning("The events of %d tasks were not published: %s", len(news), error)


def _events(documents: Sequence[Document]) -> list[tuple[str, bytes]]:
    return [(TaskRecord(document).id, events.encode(document)) for document in documents]
