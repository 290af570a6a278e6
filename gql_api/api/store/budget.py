"""The number of bytes that one answer may read from MongoDB, and reads that stop there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextvars import ContextVar
from operator import attrgetter

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.collection import AsyncCollection

from gql_api.api.errors import ANSWER_TOO_LARGE, ClientError
from gql_api.record.reads import FAST_CODEC, Document


class ReadBudget:
    """The bytes that one answer has read. It has no limit of its own: each reader has the limit of its settings."""

    def __init__(self) -> None:
        self.read = 0

    def spend(self, size: int, limit: int) -> None:
        """Count the bytes of a read.

        Raises:
            ClientError: the answer has read more than the limit.
        """
        self.read += size
        self.check(limit)

    def check(self, limit: int) -> None:
        """Check what was read.

        Raises:
            ClientError: the answer has read more than the limit.
        """
        if self.read > limit:
            message = (
                f"The answer needs more bytes of tasks than ANSWER_MAX_BYTES allows, {limit:,}: got {self.read:,} by"
                " then. Select fewer large fields (args, kwargs, metadata, result, error), or fewer tasks"
            )
            raise ClientError(message, ANSWER_TOO_LARGE)


# Decoding takes up to 15 ms for each MiB.
_BYTES_AT_ONCE = 512 * 1024
_RAW_CODEC: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
_current: ContextVar[ReadBudget | None] = ContextVar("read budget", default=None)


class _OneAnswer:
    """A block of code with a budget of its own. Every request has one: a generator takes three times as long."""

    __slots__ = ()

    def __enter__(self) -> None:
        _current.set(ReadBudget())

    def __exit__(self, *_exc: object) -> None:
        _current.set(None)


_ONE_ANSWER = _OneAnswer()


def one_answer() -> contextlib.AbstractContextManager[None]:
    """Let all reads in the block share one budget."""
    return _ONE_ANSWER


def begin_event() -> None:
    """Let all reads for the next event of a subscription share one budget.

    The source of the events calls it: graphql-core executes each event in the context in which the source yields it.
    """
    _current.set(ReadBudget())


def current_budget() -> ReadBudget:
    """Return the budget of the answer or event; outside of both, each read has a budget of its own."""
    return _current.get() or ReadBudget()


def raw(collection: AsyncCollection[Document]) -> AsyncCollection[RawBSONDocument]:
    """Return a collection for reads that need the size of each document, which is decoded by :func:`decoded`."""
    return collection.with_options(codec_options=_RAW_CODEC)


def decoded(document: RawBSONDocument) -> Document:
    """Decode a document for a record."""
    return bson.decode(document.raw, FAST_CODEC)


async def documents(cursor: AsyncIterable[RawBSONDocument], budget: ReadBudget, limit: int) -> list[Document]:
    """Read documents until the budget is spent. MongoDB sends at most 16 MiB at a time.

    Raises:
        ClientError: the answer has read more than the limit.
    """
    found = []
    pauses = Pauses()
    async for document in cursor:
        size = len(document.raw)
        budget.spend(size, limit)
        found.append(decoded(document))
        await pauses.after(size)
    return found


async def of_batches(batches: AsyncIterable[bytes], budgets: Sequence[ReadBudget], limit: int) -> list[Document]:
    """Read batches of documents for several answers, until the budgets of all are spent.

    Raises:
        ClientError: every answer has read more than the limit.
    """
    found: list[Document] = []
    pauses = Pauses()
    async for batch in batches:
        for budget in budgets:
            budget.read += len(batch)
        # What no reader can afford is not decoded.
        min(budgets, key=attrgetter("read")).check(limit)
        if len(batch) <= _BYTES_AT_ONCE:
            found += bson.decode_all(batch, FAST_CODEC)
            continue
        for document in bson.decode_iter(batch, _RAW_CODEC):
            found.append(decoded(document))
            await pauses.after(len(document.raw))
    return found


async def with_sizes(batches: AsyncIterable[bytes]) -> AsyncIterator[tuple[Document, int]]:
    """Read the documents of batches, each with its size in bytes."""
    pauses = Pauses()
    async for batch in batches:
        if len(batch) <= _BYTES_AT_ONCE:
            # One by one they take four times as long.
            for document, size in zip(bson.decode_all(batch, FAST_CODEC), _sizes(batch), strict=True):
                yield document, size
            continue
        for encoded in bson.decode_iter(batch, _RAW_CODEC):
            yield decoded(encoded), len(encoded.raw)
            await pauses.after(len(encoded.raw))


def _sizes(batch: bytes) -> Iterator[int]:
    # A document begins with its size: https://bsonspec.org/spec.html
    position = 0
    while position < len(batch):
        size = int.from_bytes(batch[position : position + 4], "little")
        yield size
        position += size


class Pauses:
    """Pauses between documents, which are decoded without any: MongoDB sends thousands of them at a time."""

    def __init__(self) -> None:
        self._decoded = 0

    async def after(self, size: int) -> None:
        """Let others run, if enough bytes were decoded since the last time."""
        self._decoded += size
        if self._decoded > _BYTES_AT_ONCE:
            self._decoded = 0
            await asyncio.sleep(0)
