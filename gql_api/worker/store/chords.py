"""The chords in MongoDB: their definitions, their counters and their finished members."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Protocol, TypeVar

from pymongo import ReturnDocument
from pymongo.collection import Collection

from gql_api.record import canvas, fields, queries
from gql_api.record.canvas import Chord, ChordDefinition, Part
from gql_api.record.reads import Document
from gql_api.record.writes import Write
from gql_api.worker.store.connections import DURABLE, QUICK, Connections

Answer = TypeVar("Answer")

_MAX_UNFINISHED = 100


class Retry(Protocol):
    """A function that runs an operation on MongoDB, in a worker until MongoDB answers."""

    def __call__(self, operation: Callable[[], Answer], /) -> Answer:
        """Run the operation and return its result."""


class ChordStore:
    """The chords that a worker stores."""

    def __init__(self, connections: Connections, retry: Retry) -> None:
        self._connections = connections
        self._retry = retry

    def save_definition(self, chord_id: str, definition: ChordDefinition) -> None:
        """Store the members and the body of a chord."""
        filter_, update = canvas.save_definition(chord_id, definition)
        self._retry(lambda: self._definitions.update_one(filter_, update, upsert=True))

    def definition(self, chord_id: str) -> ChordDefinition:
        """Read the members and the body of a chord; both are None when the chord has expired."""
        document = self._retry(lambda: self._definitions.find_one(queries.by_id(chord_id)))
        return ChordDefinition() if document is None else canvas.definition_from(document)

    def change(self, write: Write, *, quick: bool = False) -> Chord:
        """Change a chord and return it. A quick change may be lost with the server that took it."""
        filter_, update = write
        collection = self._chords.with_options(write_concern=QUICK if quick else DURABLE)

        def change() -> Chord:
            document: Any = collection.find_one_and_update(
                filter_, update, upsert=True, return_document=ReturnDocument.AFTER
            )
            return canvas.chord_from(document)

        return self._retry(change)

    def is_done(self, chord_id: str) -> bool:
        """Return whether the body of a chord was sent, or has failed."""
        document = self._retry(lambda: self._chords.find_one(queries.by_id(chord_id)))
        return document is not None and canvas.chord_from(document).done

    def add_part(self, chord_id: str, part: Part) -> bool:
        """Add a finished member, and return whether it was not there before."""
        # Not an insertion: PyMongo reports a duplicate also where the member may be rolled back yet. An update that
        # changes nothing waits for the majority too.
        filter_, update = canvas.add_part(chord_id, part)
        return self._retry(lambda: self._parts.update_one(filter_, update, upsert=True).upserted_id is not None)

    def parts(self, chord_id: str) -> list[Part]:
        """Read the finished members in the order of the members."""
        documents = self._retry(lambda: list(self._parts.find(canvas.parts_of(chord_id))))
        return canvas.in_order([canvas.part_from(document) for document in documents])

    def count_parts(self, chord_id: str) -> int:
        """Return the number of finished members."""
        return self._retry(lambda: self._parts.count_documents(canvas.parts_of(chord_id)))

    def take_unfinished(self, unchanged_since: datetime) -> Iterator[Chord]:
        """Yield unfinished chords that have not changed since a time, each to only one of the workers that see it."""
        for document in self._chords.find(canvas.unfinished_since(unchanged_since)).limit(_MAX_UNFINISHED):
            if self._chords.update_one(*canvas.claim_repair(document)).matched_count:
                yield canvas.chord_from(document)

    def expire(self, seconds: float) -> None:
        """Delete the chords that were done so long ago, with their finished members and definitions."""
        # A chord that is not done keeps its body, however long a member waits or no worker runs.
        ended = canvas.ended_before(seconds)
        for document in self._chords.find(ended):
            chord_id = canvas.chord_from(document).id
            if self._chords.delete_one({**queries.by_id(chord_id), **ended}).deleted_count:
                self._parts.delete_many(canvas.parts_of(chord_id))
                self._definitions.delete_one(queries.by_id(chord_id))

    @property
    def _chords(self) -> Collection[Document]:
        return self._connections.database()[fields.CHORDS]

    @property
    def _parts(self) -> Collection[Document]:
        return self._connections.database()[fields.CHORD_PARTS]

    @property
    def _definitions(self) -> Collection[Document]:
        return self._connections.database()[fields.CHORD_DEFINITIONS]
