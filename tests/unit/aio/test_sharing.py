from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest
from support import wait_until_async

from gql_api.aio.sharing import SharedReads

_NEVER = 3600.0
_SLOW_SECONDS = 0.05
_name: ContextVar[str] = ContextVar("name", default="nobody")


class _Store:
    """Answers reads when the test says so."""

    def __init__(self, slow_seconds: float = _NEVER) -> None:
        self.begun: list[tuple[str, list[int]]] = []
        self.cancelled = 0
        self.answer = asyncio.Event()
        self.error: Exception | None = None
        self.reads = SharedReads(self._read, slow_seconds)

    async def _read(self, key: str, callers: Sequence[int]) -> str:
        self.begun.append((key, [*callers]))
        number = len(self.begun)
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return f"{key} of read {number} for {_name.get()}"

    def load(self, key: str, caller: int, name: str = "nobody") -> asyncio.Task[str]:
        """Begin to load a value as somebody."""
        _name.set(name)
        return asyncio.create_task(self.reads.load(key, caller))


async def _turns() -> None:
    """Let the event loop turn until whatever is ready has run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_equal_reads_of_a_moment_are_one() -> None:
    """Each caller has the answer, others have their own, and the read runs in the context of the first caller."""
    store = _Store()
    store.answer.set()
    loads = [store.load("a", 1, "alice"), store.load("b", 2, "bob"), store.load("a", 3, "carol")]
    assert await asyncio.gather(*loads) == ["a of read 1 for alice", "b of read 2 for bob", "a of read 1 for alice"]
    assert store.begun == [("a", [1, 3]), ("b", [2])]


async def test_a_read_that_has_begun_takes_no_more_callers() -> None:
    """Its answer may be older than a later request: those who come meanwhile share the next read."""
    store = _Store()
    loads = [store.load("a", 1)]
    await _turns()
    loads += [store.load("a", 2), store.load("a", 3), store.load("b", 4)]
    await _turns()
    assert store.begun == [("a", [1]), ("b", [4])]
    store.answer.set()
    answers = await asyncio.gather(*loads)
    assert [answer.split(" for")[0] for answer in answers] == [
        "a of read 1", "a of read 3", "a of read 3", "b of read 2",
    ]  # fmt: skip
    assert store.begun[2:] == [("a", [2, 3])]


async def test_a_slow_read_holds_up_nobody_for_long() -> None:
    """Another one begins beside it, however long the first takes."""
    store = _Store(_SLOW_SECONDS)
    loads = []
    for number in (1, 2, 3):
        loads.append(store.load("a", number))

        async def begun(count: int = number) -> bool:
            return len(store.begun) == count

        await wait_until_async(begun)
    store.answer.set()
    assert len(set(await asyncio.gather(*loads))) == 3


async def test_all_callers_receive_an_error() -> None:
    """The next read begins all the same."""
    store = _Store()
    store.error = ValueError("no")
    loads = [store.load("a", 1), store.load("a", 2)]
    await _turns()
    loads.append(store.load("a", 3))
    store.answer.set()
    results = await asyncio.gather(*loads, return_exceptions=True)
    assert [str(result) for result in results] == ["no"] * 3
    assert len(store.begun) == 2


async def test_a_caller_that_leaves_takes_nothing_from_the_others() -> None:
    """A read goes on for those who still wait, also when the first one has left."""
    store = _Store()
    first, second = store.load("a", 1), store.load("a", 2)
    await _turns()
    first.cancel()
    await _turns()
    store.answer.set()
    assert (await second).startswith("a of read 1")
    assert store.cancelled == 0


async def test_a_read_that_nobody_waits_for_is_cancelled() -> None:
    """One that has not begun never does, and the next one begins."""
    store = _Store()
    first = store.load("a", 1)
    await _turns()
    second = store.load("a", 2)
    await _turns()
    for left in (second, first):
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
    await _turns()
    assert (store.begun, store.cancelled) == ([("a", [1])], 1)
    third = store.load("a", 3)
    store.answer.set()
    assert (await third).startswith("a of read 2")
