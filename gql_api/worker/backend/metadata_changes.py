"""The changes of metadata by running task functions."""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from celery.exceptions import Ignore

from gql_api.record import control
from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.values.operations import MetadataError, Operation, apply_operations
from gql_api.worker.backend.codec import Codec
from gql_api.worker.state.attempt import attempt_of, fence_of
from gql_api.worker.store.chords import Retry
from gql_api.worker.store.tasks import Store

# Tries to store a change on top of the metadata of a record; None if the record has others, or refuses the attempt.
_Change = Callable[[TaskRecord], TaskRecord | None]


class MetadataChanges:
    """Changes the metadata of running tasks, each in the name of the attempt that runs.

    Args:
        store: the records of clients' tasks.
        codec: makes JSON of the values that a function gives.
        settings: the limits of metadata.
        retry: waits out an outage of MongoDB.
    """

    def __init__(self, store: Store, codec: Codec, settings: Settings, retry: Retry) -> None:
        self._store = store
        self._codec = codec
        self._settings = settings
        self._retry = retry

    def make(self, request: Any, operations: Sequence[Operation], announced: int) -> TaskRecord:
        """Apply operations to the metadata of the running task, and return its record as stored.

        Args:
            request: the request of the running attempt.
            operations: all of them are applied, or none.
            announced: the revision of the last progress report that was written; 0 if none was.

        Raises:
            MetadataError: the operations cannot be applied.
            Ignore: this attempt does not hold the task any more.
        """
        token = uuid.uuid4().hex
        change = self._change(request, operations, announced, token)
        claim = attempt_of(request).claim
        # Mostly nobody else has changed the metadata that this attempt has last seen. If they do not fit, others may.
        with contextlib.suppress(MetadataError):
            if claim is not None and (stored := change(claim.record)) is not None:
                return stored
        while True:
            record = self._retry(functools.partial(self._read, request.id, token))
            if record is None:
                raise Ignore("the task is gone")
            if token in record.metadata_tokens:
                return record
            if (stored := change(record)) is not None:
                return stored
            if record.attempts != attempt_of(request).number or record.status is not Status.STARTED:
                attempt_of(request).note_refusal()
                raise Ignore("the task was taken away while it ran")

    def _change(self, request: Any, operations: Sequence[Operation], announced: int, token: str) -> _Change:
        fence, limits = fence_of(request.id, request), self._settings
        plain = [replace(operation, value=self._codec.plain_form(operation.value)) for operation in operations]

        def change(record: TaskRecord) -> TaskRecord | None:
            metadata = apply_operations(
                record.metadata,
                plain,
                limits.metadata_max_bytes,
                max_depth=limits.metadata_max_depth,
                max_keys=limits.metadata_max_keys,
            )
            write = control.replace_metadata(
                request.id, metadata, record.metadata_revision, token=token, announced=announced, fence=fence
            )
            return self._retry(lambda: self._store.change(write))

        return change

    def _read(self, task_id: str, token: str) -> TaskRecord | None:
        record = self._store.find(task_id)
        # An earlier try was taken, and its reply was lost.
        return self._store.confirm(record) if record is not None and token in record.metadata_tokens else record
