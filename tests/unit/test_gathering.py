from __future__ import annotations

import asyncio

import pytest

from gql_api.gathering import GatheredReads


class _Store:
    """Answers reads when the test says so."""

    def __init__(self) -> None:
        self.queries: list[list[str]] = []
        self.answer = asyncio.Event()
        self.error: Exception | None = None

    async def read(self, ids: list[str]) -> list[str]:
        """Read many."""
        self.queries.append(ids)
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        return [f"read {id_}" for id_ in ids]


async def _turns() -> None:
    """Let the event loop turn until whatever is ready has run."""
    loop = asyncio.get_running_loop()
    for _ in range(5):
        turned = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned


async def test_what_is_asked_for_together_is_one_query() -> None:
    """Each gets the answer for its own id, also where two ask for the same."""
    store = _Store()
    store.answer.set()
    reads = GatheredReads(store.read)
    assert await asyncio.gather(*(reads.load(id_) for id_ in "abca")) == ["read a", "read b", "read c", "read a"]
    assert store.queries == [["a", "b", "c", "a"]]


async def test_what_is_asked_for_while_others_are_read_waits_and_is_one_query() -> None:
    """Two queries are under way at most, and one that has begun takes no more: its answer may be older."""
    store = _Store()
    reads = GatheredReads(store.read)
    loads = []
    for id_ in ["a", "b", "c", "d", "a"]:
        loads.append(asyncio.create_task(reads.load(id_)))
        await _turns()
    assert store.queries == [["a"], ["b"]]
    store.answer.set()
    assert await asyncio.gather(*loads) == ["read a", "read b", "read c", "read d", "read a"]
    assert store.queries == [["a"], ["b"], ["c", "d", "a"]]


async def test_a_query_is_bounded() -> None:
    """Twelve hundred ids are three queries."""
    store = _Store()
    store.answer.set()
    reads = GatheredReads(store.read)
    await asyncio.gather(*(reads.load(str(number)) for number in range(1200)))
    assert [len(ids) for ids in store.queries] == [500, 500, 200]


async def test_who_gave_up_is_not_read_for() -> None:
    """A query leaves them out; the others are none the worse."""
    store = _Store()
    reads = GatheredReads(store.read)
    blocking = [asyncio.create_task(reads.load(id_)) for id_ in "a"]
    await _turns()
    blocking.append(asyncio.create_task(reads.load("b")))
    await _turns()
    gone, stays = (asyncio.create_task(reads.load(id_)) for id_ in "cd")
    await _turns()
    gone.cancel()
    blocking[0].cancel()
    store.answer.set()
    assert await stays == "read d"
    assert store.queries[-1] == ["d"]


async def test_an_error_is_told_to_all_who_asked() -> None:
    """And to nobody who asks later."""
    store = _Store()
    store.error = RuntimeError("MongoDB is away")
    store.answer.set()
    reads = GatheredReads(store.read)
    results = await asyncio.gather(*(reads.load(id_) for id_ in "ab"), return_exceptions=True)
    assert results == [store.error, store.error]
    with pytest.raises(RuntimeError):
        await reads.load("a")
    store.error = None
    assert await reads.load("a") == "read a"
