from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from support import wait_until_async

from gql_api.api.subscriptions.fanout import Fanout
from gql_api.api.subscriptions.send_buffer import Alarm, Ending, Policy, SendBuffer


class _Source:
    """A state that is read, and what was published of it."""

    def __init__(self, audience: Fanout) -> None:
        self.audience = audience
        self.revision = 1
        self.reads = 0
        self.error: Exception | None = None
        self.readable = asyncio.Event()
        self.readable.set()

    async def read(self) -> int:
        """Read the state once it may be read."""
        self.reads += 1
        revision = self.revision
        await self.readable.wait()
        if self.error is not None:
            raise self.error
        return revision

    def publish(self, revision: int) -> None:
        """Tell a state."""
        self.audience.revision = revision
        self.audience.publish(b"%d" % revision)


@pytest.fixture
def left_behind() -> list[SendBuffer]:
    """Those who could not be told."""
    return []


@pytest.fixture
def source(left_behind: list[SendBuffer]) -> _Source:
    """The source of a shared execution."""

    def leave(late: Iterable[SendBuffer]) -> None:
        left_behind.extend(late)

    return _Source(Fanout(leave))


def _join(source: _Source) -> SendBuffer:
    outbox = SendBuffer(Policy.EVERY, Alarm())
    source.audience.join(outbox)
    return outbox


async def _told(outbox: SendBuffer) -> list[bytes]:
    payloads: list[bytes] = []

    async def some() -> bool:
        payloads.extend(outbox.take()[0])
        return bool(payloads)

    await wait_until_async(some)
    return payloads


async def test_a_late_joiner_hears_nothing_older_than_its_join(source: _Source) -> None:
    """While MongoDB is being read for it, older events that are still under way are not its first payload."""
    first = _join(source)
    await source.audience.snapshot(source.read)
    source.publish(1)
    assert await _told(first) == [b"1"]
    source.revision = 5
    source.readable.clear()
    late = _join(source)
    for revision in (2, 3):
        source.publish(revision)
    source.readable.set()
    await wait_until_async(lambda: _true(source.reads == 2))
    source.publish(4)
    assert late.take() == ([], None)
    source.publish(5)
    source.publish(6)
    assert await _told(late) == [b"5", b"6"]
    assert await _told(first) == [b"2", b"3", b"4", b"5", b"6"]


async def _true(value: bool) -> bool:
    return value


async def test_a_late_joiner_gets_the_last_payload_when_it_is_current(source: _Source) -> None:
    """Nothing is executed for it: it has the bytes that the others have had."""
    _join(source)
    await source.audience.snapshot(source.read)
    source.publish(1)
    assert await _told(_join(source)) == [b"1"]


async def test_joins_that_come_together_are_one_read(source: _Source) -> None:
    """Five hundred who join while one read is under way share the next."""
    _join(source)
    await source.audience.snapshot(source.read)
    source.publish(1)
    source.readable.clear()
    early = _join(source)
    await wait_until_async(lambda: _true(source.reads == 2))
    late = [_join(source) for _ in range(500)]
    source.readable.set()
    assert [await _told(outbox) for outbox in [early, *late]] == [[b"1"]] * 501
    assert source.reads == 3


async def test_who_cannot_be_answered_begins_anew(source: _Source, left_behind: list[SendBuffer]) -> None:
    """A read that fails for a late joiner is no matter of the others."""
    first = _join(source)
    await source.audience.snapshot(source.read)
    source.publish(1)
    source.error = RuntimeError("MongoDB is away")
    late = _join(source)
    await wait_until_async(lambda: _true(left_behind == [late]))
    source.publish(2)
    assert await _told(first) == [b"1", b"2"]
    assert late.take() == ([], None)


async def test_who_joined_after_the_last_read_begins_anew(source: _Source, left_behind: list[SendBuffer]) -> None:
    """An execution that ends has not answered those for whom MongoDB was not read, or not published."""
    first = _join(source)
    await source.audience.snapshot(source.read)
    source.publish(1)
    source.readable.clear()
    reading = _join(source)
    await wait_until_async(lambda: _true(source.reads == 2))
    unread = _join(source)
    source.audience.end(Ending())
    assert left_behind == [reading, unread]
    assert first.take() == ([b"1"], Ending())
    assert source.audience.is_empty


async def test_the_error_of_the_first_read_is_told_to_all_who_asked(
    source: _Source, left_behind: list[SendBuffer]
) -> None:
    """Who joined while that read was under way has not asked, and begins anew."""
    first, second = _join(source), _join(source)
    source.error = RuntimeError("there is no such task")
    source.readable.clear()
    reading = asyncio.create_task(source.audience.snapshot(source.read))
    await wait_until_async(lambda: _true(source.reads == 1))
    late = _join(source)
    source.readable.set()
    with pytest.raises(RuntimeError):
        await reading
    source.audience.publish(b"error", failed=True)
    source.audience.end(Ending())
    assert first.take() == second.take() == ([b"error"], Ending())
    assert left_behind == [late]


async def test_a_refusal_is_told_to_all(source: _Source, left_behind: list[SendBuffer]) -> None:
    """An operation that is not valid is that for everybody."""
    both = [_join(source), _join(source)]
    refusal = Ending(b"[]", is_refusal=True)
    source.audience.end(refusal)
    assert [outbox.take() for outbox in both] == [([], refusal)] * 2
    assert left_behind == []


async def test_a_source_of_events_tells_who_joins_from_then_on() -> None:
    """Without a state to be read nobody is held back."""
    audience = Fanout(lambda _late: None, holds_back=False)
    outbox = SendBuffer(Policy.EVERY, Alarm())
    audience.publish(b"1")
    audience.join(outbox)
    audience.publish(b"2")
    assert outbox.take() == ([b"2"], None)


async def test_an_event_that_cannot_be_completed_is_left_to_graphql_core() -> None:
    """What the plan says is published at once; where it fails nothing is."""
    audience = Fanout(lambda _late: None, holds_back=False)
    outbox = SendBuffer(Policy.EVERY, Alarm())
    audience.join(outbox)
    assert not audience.tell(1)
    audience.complete = lambda event: {"half": 1 / event}  # type: ignore[operator] # events are anything
    assert audience.tell(2)
    assert not audience.tell(0)
    assert outbox.take() == ([b'{"data":{"half":0.5}}'], None)


@pytest.mark.parametrize("way", ["opens", "ends"])
async def test_who_has_to_know_waits_until_nothing_is_missed(source: _Source, way: str) -> None:
    """All who wait hear when the source is subscribed, or that there will be none; later ones need not wait."""
    waiting = [asyncio.create_task(source.audience.opened()) for _ in range(2)]
    done, _ = await asyncio.wait(waiting, timeout=0.05)
    assert not done
    if way == "opens":
        source.audience.open()
    else:
        source.audience.end(Ending())
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    await asyncio.wait_for(source.audience.opened(), 5)
