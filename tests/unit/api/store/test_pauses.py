"""Documents that arrive together are decoded with pauses, in which the process answers others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from gql_api.api.errors import ClientError
from gql_api.api.store.budget import ReadBudget, documents, with_sizes

_DOCUMENT = RawBSONDocument(bson.encode({"metadata": {"a": "x" * 65_536}}))


async def _arrived(count: int) -> AsyncIterator[RawBSONDocument]:
    """Yield documents as a cursor does that has a whole batch: without a pause."""
    for _ in range(count):
        yield _DOCUMENT


async def test_others_run_while_documents_are_decoded() -> None:
    """Each half a mebibyte is followed by a pause."""
    turns = 0
    decoding = asyncio.create_task(documents(_arrived(160), ReadBudget(), 2**30))
    while not decoding.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(await decoding) == 160
    assert turns > 15


async def test_the_budget_ends_the_reading() -> None:
    """The documents beyond the budget are not decoded."""
    budget = ReadBudget()
    with pytest.raises(ClientError, match="ANSWER_MAX_BYTES"):
        await documents(_arrived(160), budget, 1_000_000)
    assert budget.read < 1_100_000


async def _of_batch(batch: list[bytes]) -> AsyncIterator[bytes]:
    """Yield a batch of documents."""
    yield b"".join(batch)


async def test_each_document_of_a_batch_has_its_size() -> None:
    """Whether the batch is small and decoded at once, or large and decoded with pauses."""
    small = [bson.encode({"number": number, "text": "x" * number}) for number in range(3)]
    for batch in (small, [*small, *(bytes(_DOCUMENT.raw) for _ in range(160))]):
        found = [each async for each in with_sizes(_of_batch(batch))]
        assert found == [(bson.decode(document), len(document)) for document in batch]


async def test_others_run_while_a_large_batch_is_decoded() -> None:
    """Each half a mebibyte is followed by a pause."""
    turns = 0

    async def read() -> int:
        return len([each async for each in with_sizes(_of_batch([bytes(_DOCUMENT.raw)] * 160))])

    reading = asyncio.create_task(read())
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert await reading == 160
    assert turns > 15
