from __future__ import annotations

import asyncio

from gql_api.aio.compact import CompactEvent, CompactQueue


async def test_an_event_wakes_all_that_wait() -> None:
    """Each waits until the flag is set, and waits again once it was reset."""
    event = CompactEvent()
    waiting = [asyncio.create_task(event.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    event.set()
    await asyncio.gather(*waiting[1:])
    await event.wait()
    assert event.is_set()
    event.clear()
    assert not event.is_set()
    again = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    assert not again.done()
    event.set()
    await again


async def test_an_event_that_is_reset_at_once_keeps_its_waiters() -> None:
    """A coroutine that wakes up behind the reset waits on."""
    event = CompactEvent()
    waiting = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    event.set()
    event.clear()
    await asyncio.sleep(0)
    assert not waiting.done()
    event.set()
    await waiting


async def test_a_queue_keeps_the_order() -> None:
    """Items come in their order, before and after somebody waits; a cancelled wait takes none."""
    queue = CompactQueue[int]()
    assert queue.empty()
    queue.put_nowait(1)
    queue.put_nowait(2)
    assert [await queue.get(), await queue.get()] == [1, 2]
    assert queue.empty()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put_nowait(3)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await queue.get() == 3
    following = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put_nowait(4)
    assert await following == 4
