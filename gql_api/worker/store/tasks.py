"""The task records in MongoDB: the only place where a worker raises a revision and publishes its event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pymongo import ReturnDocument, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, BulkWriteError
from pymongo.write_concern import WriteConcern

from gql_api import events
from gql_api.access.owner_signature import NOBODY, Owner
from gql_api.outage import found_only_duplicates
from gql_api.record import canvas, control, due, fields, logs, queries
from gql_api.record.control import CancelRequest
from gql_api.record.past import tombstones
from gql_api.record.reads import Document, TaskRecord
from gql_api.record.writes import Write
from gql_api.worker.store.connections import DURABLE, QUICK, Connections, PerProcess

_OWNER = queries.Part.of(["owner", "tenant"])


class Store:
    """The task records, or those of Celery's internal tasks, which no client finds and no event announces."""

    def __init__(self, connections: Connections, *, internal: bool = False) -> None:
        self._connections = connections
        self._internal = internal
        # Made once: making a collection in PyMongo takes a twentieth of the time that a worker needs for a small task.
        self._durable = PerProcess(lambda: self._collection(DURABLE))
        self._quick = PerProcess(lambda: self._collection(QUICK))

    def change(self, write: Write, *, upsert: bool = False, quick: bool = False) -> TaskRecord | None:
        """Make one conditional change and publish its event.

        Args:
            write: from :mod:`gql_api.record`.
            upsert: whether the write creates the record.
            quick: whether the change may be lost with the server that took it.

        Returns:
            The new record; None when the record did not take the change, and then nothing is published.

        Raises:
            DuplicateKeyError: an upsert found a record with this id.
        """
        filter_, update = write
        document = (
            (self._quick if quick else self._durable)
            .get()
            .find_one_and_update(filter_, update, upsert=upsert, return_document=ReturnDocument.AFTER)
        )
        if document is None:
            return None
        self._announce([document])
        return TaskRecord(document)

    def change_many(self, write: Write, taken: Document) -> list[TaskRecord]:
        """Make one conditional change of many tasks, and publish the event of each task that took it.

        Args:
            write: run over many; it leaves a token in the records that it changes.
            taken: the filter that finds these by the token.
        """
        self._durable.get().update_many(*write)
        documents = list(self._durable.get().find(taken))
        self._announce(documents)
        return [TaskRecord(document) for document in documents]

    def create_missing(self, tasks: Mapping[str, Write], token: str) -> None:
        """Create those of some records that do not exist and were not deleted, by one call, and publish their events.

        Args:
            tasks: the writes that create the records, by the ids of the tasks.
            token: is left in the records by the writes.
        """
        ids = list(tasks)
        tombstones_ = self._connections.database()[fields.TOMBSTONES]
        deleted = {document[fields.ID] for document in tombstones_.find(tombstones.tombstones_of(ids))}
        upserts = [UpdateOne(*write, upsert=True) for task_id, write in tasks.items() if task_id not in deleted]
        if not upserts:
            return
        try:
            self._durable.get().bulk_write(upserts, ordered=False)
        except BulkWriteError as error:
            if not found_only_duplicates(error):
                raise
        self._announce(list(self._durable.get().find(canvas.created_by(ids, token))))

    def delete(self, task_ids: list[str]) -> list[str]:
        """Delete the final ones among some tasks, except members of unfinished chords, and publish that.

        A late message cannot revive them.

        Returns:
            The tasks that were deleted.
        """
        database = self._connections.database()
        documents = list(self._durable.get().find(tombstones.deletable(task_ids), queries.DELETED_ONLY))
        if chord_ids := tombstones.chords_of(documents):
            unfinished = list(database[fields.CHORDS].find(canvas.unfinished_among(chord_ids), queries.ID_ONLY))
            documents = tombstones.without_members_of(documents, unfinished)
        if not documents:
            return []
        found = [document[fields.ID] for document in documents]
        database[fields.TOMBSTONES].bulk_write(tombstones.save_tombstones(documents), ordered=False)
        saved = list(database[fields.TOMBSTONES].find(tombstones.tombstones_of(found)))
        database[fields.TASK_LOGS].delete_many(logs.of_tasks(found))
        self._durable.get().delete_many(tombstones.deletable(found))
        self._connections.publish(
            [
                (self._connections.channels.task(document[fields.ID]), events.deleted(document, at))
                for document, at in tombstones.with_deletion_times(documents, saved)
            ]
        )
        return found

    def note(self, write: Write, *, hint: list[tuple[str, int]] | None = None) -> int:
        """Make a change that clients do not see on all records that its filter finds, and return their number."""
        filter_, update = write
        return self._durable.get().update_many(filter_, update, hint=hint).matched_count

    def note_one(self, write: Write) -> TaskRecord | None:
        """Make a change that clients do not see on one record, and return it; None when it did not take the change."""
        filter_, update = write
        document = self._durable.get().find_one_and_update(filter_, update, return_document=ReturnDocument.AFTER)
        return None if document is None else TaskRecord(document)

    def is_deleted(self, task_id: str) -> bool:
        """Return whether the id has a tombstone."""
        tombstones_ = self._connections.database()[fields.TOMBSTONES]
        return tombstones_.find_one(queries.by_id(task_id)) is not None

    def confirm(self, seen: TaskRecord) -> TaskRecord:
        """Wait until a task is durable as it was read, and return it.

        A read can find a write that a failover then rolls back. So a caller that recognizes its own write by a read,
        because it had no reply to the write itself, confirms what it read before it relies on it.

        Raises:
            AutoReconnect: the task has changed since, or was rolled back: the caller has to read again.
        """
        if not self._durable.get().update_one(queries.unchanged(seen), queries.NO_CHANGE).matched_count:
            raise AutoReconnect(f"task {seen.id} has changed while it was read")
        return seen

    def find(self, task_id: str) -> TaskRecord | None:
        """Read one task."""
        document = self._durable.get().find_one(queries.by_id(task_id))
        return None if document is None else TaskRecord(document)

    def owner_of(self, task_id: str) -> Owner:
        """Read whom a task belongs to; nobody, if it has no record."""
        document = self._durable.get().find_one(queries.by_id(task_id), _OWNER.projection)
        if document is None or _OWNER.fitness.first_misfit(document) is not None:
            return NOBODY
        record = _OWNER.record(document)
        return Owner(record.owner, record.tenant)

    def cancels_among(self, task_ids: list[str], run: str) -> list[CancelRequest]:
        """Return the requests to cancel tasks that a worker runs."""
        found = self._durable.get().find(*control.cancels_among(task_ids, run))
        return [control.cancel_request_from(document) for document in found]

    def ids(self, filter_: Document) -> list[str]:
        """Return the ids of the tasks that a filter finds."""
        return [document[fields.ID] for document in self._durable.get().find(filter_, queries.ID_ONLY)]

    def find_all(self, task_ids: list[str]) -> list[TaskRecord]:
        """Read several tasks, in any order; an id without a record is left out."""
        return [TaskRecord(document) for document in self._durable.get().find(queries.by_ids(task_ids))]

    def note_sent_again(self, task_ids: list[str]) -> tuple[set[str], dict[str, datetime]]:
        """Note that the messages of some tasks are sent again.

        Returns:
            The tasks that have ended or were deleted, whose messages must not be sent; the times to be noted in the
            messages of queued tasks.
        """
        tasks = self._durable.get()
        tasks.update_many(*due.sent_again(task_ids))
        found = {document[fields.ID]: document for document in tasks.find(*due.sent_again_among(task_ids))}
        missing = [task_id for task_id in task_ids if task_id not in found]
        deleted = self._connections.database()[fields.TOMBSTONES].find(tombstones.tombstones_of(missing))
        ended = {task_id for task_id, document in found.items() if due.is_over(document)}
        sent_at = {task_id: at for task_id, document in found.items() if (at := due.sent_at_from(document)) is not None}
        return ended | {document[fields.ID] for document in deleted}, sent_at

    def _collection(self, concern: WriteConcern) -> Collection[Document]:
        name = fields.INTERNAL_TASKS if self._internal else fields.TASKS
        return self._connections.database().get_collection(name, write_concern=concern)

    def _announce(self, documents: Sequence[Document]) -> None:
        if not self._internal:
            channel = self._connections.channels.task
            self._connections.publish([(channel(each[fields.ID]), events.encode(each)) for each in documents])
