from __future__ import annotations

import asyncio

import pytest
from support import wait_until_async

from gql_api.aio.batching import BatchedReads

_SLOW_SECONDS = 0.05
_NEVER = 3600.0


class _Store:
    """Answers reads when the test says so."""

    def __init__(self) -> None:
        self.queries: list[list[str]] = []
        self.answer = asyncio.Event()
        self.error: Exception | None = None
        self.only_hangs: str | None = None

    async def is_asked_twice(self) -> bool:
        """Whether two queries have begun."""
        return len(self.queries) > 1

    async def read(self, ids: list[str]) -> list[str]:
        """Read many."""
        self.queries.append(ids)
        if self.only_hangs is None or self.only_hangs in ids:
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
    reads = BatchedReads(store.read)
    assert await asyncio.gather(*(reads.load(id_) for id_ in "abca")) == ["read a", "read b", "read c", "read a"]
    assert store.queries == [["a", "b", "c", "a"]]


async def test_what_is_asked_for_while_others_are_read_waits_and_is_one_query() -> None:
    """One that has begun takes no more: its answer may be older."""
    store = _Store()
    reads = BatchedReads(store.read, _NEVER)
    loads = []
    for id_ in ["a", "b", "c", "a"]:
        loads.append(asyncio.create_task(reads.load(id_)))
        await _turns()
    assert store.queries == [["a"]]
    store.answer.set()
    assert await asyncio.gather(*loads) == ["read a", "read b", "read c", "read a"]
    assert store.queries == [["a"], ["b", "c", "a"]]


async def test_beside_a_query_that_takes_long_there_is_another_and_no_third() -> None:
    """Whoever waits for a query that hangs goes on without it."""
    store = _Store()
    reads = BatchedReads(store.read, _SLOW_SECONDS)
    loads = [asyncio.create_task(reads.load("a"))]
    await _turns()
    loads += [asyncio.create_task(reads.load(id_)) for id_ in "bc"]
    await wait_until_async(store.is_asked_twice)
    loads += [asyncio.create_task(reads.load(id_)) for id_ in "de"]
    await asyncio.sleep(2 * _SLOW_SECONDS)
    assert store.queries == [["a"], ["b", "c"]]
    store.answer.set()
    assert await asyncio.gather(*loads) == [f"read {id_}" for id_ in "abcde"]
    assert store.queries == [["a"], ["b", "c"], ["d", "e"]]


async def test_who_asks_while_a_query_hangs_does_not_wait_for_it() -> None:
    """Nor for one that began before it or beside it and has ended: each counts from its own beginning to its end."""
    store = _Store()
    store.only_hangs = "a"
    reads = BatchedReads(store.read, 10 * _SLOW_SECONDS)
    assert [await reads.load(id_) for id_ in "yz"] == ["read y", "read z"]
    hangs = asyncio.create_task(reads.load("a"))
    await _turns()
    assert await asyncio.wait_for(reads.load("b"), 20) == "read b"
    for id_ in "cd":
        load = asyncio.create_task(reads.load(id_))
        await _turns()
        assert load.done()
    assert store.queries == [[id_] for id_ in "yzabcd"]
    store.answer.set()
    assert await hangs == "read a"


async def test_a_query_does_not_take_long_because_one_before_it_did() -> None:
    """When the one that hung has ended, there is one at a time again."""
    store = _Store()
    store.only_hangs = "a"
    reads = BatchedReads(store.read, 10 * _SLOW_SECONDS)
    hangs = asyncio.create_task(reads.load("a"))
    await _turns()
    assert await reads.load("b") == "read b"
    store.answer.set()
    await hangs
    reads._batches._slow_seconds = _NEVER  # noqa: SLF001 - on a loaded machine what follows may be slow, too
    store.only_hangs = "c"
    store.answer.clear()
    loads = []
    for id_ in "cd":
        loads.append(asyncio.create_task(reads.load(id_)))
        await _turns()
    assert store.queries == [["a"], ["b"], ["c"]]
    store.answer.set()
    assert await asyncio.gather(*loads) == ["read c", "read d"]


async def test_a_query_is_bounded() -> None:
    """Twelve hundred ids are three queries."""
    store = _Store()
    store.answer.set()
    reads = BatchedReads(store.read)
    await asyncio.gather(*(reads.load(str(number)) for number in range(1200)))
    assert [len(ids) for ids in store.queries] == [500, 500, 200]


async def test_who_gave_up_is_not_read_for() -> None:
    """A query leaves them out; the others are none the worse."""
    store = _Store()
    reads = BatchedReads(store.read, _NEVER)
    blocking = asyncio.create_task(reads.load("a"))
    await _turns()
    gone, stays = (asyncio.create_task(reads.load(id_)) for id_ in "cd")
    await _turns()
    gone.cancel()
    blocking.cancel()
    store.answer.set()
    assert await stays == "read d"
    assert store.queries == [["a"], ["d"]]


async def test_an_error_is_told_to_all_who_asked() -> None:
    """And to nobody who asks later."""
    store = _Store()
    store.error = RuntimeError("MongoDB is away")
    store.answer.set()
    reads = BatchedReads(store.read)
    results = await asyncio.gather(*(reads.load(id_) for id_ in "ab"), return_exceptions=True)
    assert results == [store.error, store.error]
    with pytest.raises(RuntimeError):
        await reads.load("a")
    store.error = None
    assert await reads.load("a") == "read a"


async def test_more_than_fit_into_a_query_are_several() -> None:
    """No query reads more than its maximum, and all are answered."""
    store = _Store()
    store.answer.set()
    reads = BatchedReads(store.read, max_ids=2)
    assert await asyncio.gather(*map(reads.load, "abcde")) == [f"read {id_}" for id_ in "abcde"]
    assert store.queries == [["a", "b"], ["c", "d"], ["e"]]


async def test_as_many_queries_run_beside_slow_ones_as_are_allowed() -> None:
    """Each begins when all before it are slow."""
    store = _Store()
    reads = BatchedReads(store.read, _SLOW_SECONDS, concurrency=3)
    loads = []
    for count, id_ in enumerate("abc", start=1):
        loads.append(asyncio.ensure_future(reads.load(id_)))

        async def have_begun(count: int = count) -> bool:
            return len(store.queries) == count

        await wait_until_async(have_begun)
    loads.append(asyncio.ensure_future(reads.load("d")))
    await asyncio.sleep(2 * _SLOW_SECONDS)
    assert store.queries == [["a"], ["b"], ["c"]]
    store.answer.set()
    assert await asyncio.gather(*loads) == [f"read {id_}" for id_ in "abcd"]
