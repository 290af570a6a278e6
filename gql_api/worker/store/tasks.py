"""Store, then announce: the one place where a worker changes task records."""

from __future__ import annotations

import logging

from pymongo import ReturnDocument, UpdateOne
from pymongo.collection import Collection
from pymongo.write_concern import WriteConcern
from redis.exceptions import RedisError

from gql_api import events
from gql_api.record import fields, logs, queries, tombstones
from gql_api.record.reads import Document, TaskRecord
from gql_api.record.writes import Write
from gql_api.worker.store.connections import DURABLE, QUICK, Connections, PerProcess

logger = logging.getLogger(__name__)


class Store:
    """The task records as a worker sees them.

    Those of Celery's internal tasks are kept apart, where no client finds them, and are not announced.
    """

    def __init__(self, connections: Connections, *, internal: bool = False) -> None:
        self._connections = connections
        self._internal = internal
        # Made once: PyMongo's own making of a collection is a twentieth of what a worker does for a small task.
        self._durable = PerProcess(lambda: self._collection(DURABLE))
        self._quick = PerProcess(lambda: self._collection(QUICK))

    def change(self, write: Write, *, upsert: bool = False, quick: bool = False) -> TaskRecord | None:
        """Make one conditional change and publish its event.

        Args:
            write: from ``jobs.record``.
            upsert: whether it makes the record.
            quick: whether the change may be lost with the server that took it.

        Returns:
            The record as it is now; None when it did not take the change, and then nothing is announced.

        Raises:
            DuplicateKeyError: an upsert found the id taken.
        """
        filter_, update = write
        document = (
            (self._quick if quick else self._durable)
            .get()
            .find_one_and_update(filter_, update, upsert=upsert, return_document=ReturnDocument.AFTER)
        )
        if document is None:
            return None
        if not self._internal:
            self._announce(document)
        return TaskRecord(document)

    def change_many(self, write: Write, taken: Document) -> list[TaskRecord]:
        """Make one conditional change of many tasks, and publish the event of each that took it.

        Args:
            write: run over many; it marks what it changes.
            taken: the filter that finds these by their mark.
        """
        self._durable.get().update_many(*write)
        documents = list(self._durable.get().find(taken))
        for document in documents:
            self._announce(document)
        return [TaskRecord(document) for document in documents]

    def delete(self, task_ids: list[str]) -> None:
        """Delete those of some tasks that are final, and announce it. A late message revives none of them."""
        database = self._connections.database()
        last = list(self._durable.get().find(tombstones.deletable(task_ids), queries.FILTERED_ONLY))
        found = {document[fields.ID]: document for document in last}
        if not found:
            return
        graves = [UpdateOne(*tombstones.save_tombstone(task_id), upsert=True) for task_id in found]
        database[fields.TOMBSTONES].bulk_write(graves, ordered=False)
        deleted = [
            tombstones.tombstone_from(grave)
            for grave in database[fields.TOMBSTONES].find(tombstones.tombstones_of([*found]))
        ]
        database[fields.TASK_LOGS].delete_many(logs.of_tasks([*found]))
        self._durable.get().delete_many(tombstones.deletable([*found]))
        for task_id, at in deleted:
            if not self._publish(events.channel(task_id), events.deleted(found[task_id], at)):
                return  # Redis is away, and each of the others would be waited for

    def note(self, write: Write) -> int:
        """Make a change that no client sees, on every record that its filter finds, and return how many those were."""
        filter_, update = write
        return self._durable.get().update_many(filter_, update).matched_count

    def find(self, task_id: str) -> TaskRecord | None:
        """Read one task."""
        document = self._durable.get().find_one(queries.by_id(task_id))
        return None if document is None else TaskRecord(document)

    def find_all(self, task_ids: list[str]) -> list[TaskRecord]:
        """Read several tasks, in no order; one without a record is left out."""
        return [TaskRecord(document) for document in self._durable.get().find(queries.by_ids(task_ids))]

    def _collection(self, concern: WriteConcern) -> Collection[Document]:
        name = fields.INTERNAL_TASKS if self._internal else fields.TASKS
        return self._connections.database().get_collection(name, write_concern=concern)

    def _announce(self, document: Document) -> None:
        self._publish(events.channel(document[fields.ID]), events.encode(document))

    def _publish(self, channel: str, event: bytes) -> bool:
        """The record is the truth: news that is lost is logged, never raised into a task. Tells whether it was sent."""
        try:
            self._connections.publisher().publish(channel, event)
        except (RedisError, OSError):
            logger.warning("An event on %s was not published", channel, exc_info=True)
            return False
        return True
