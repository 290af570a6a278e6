from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY
from support import wait_until_async

from gql_api.api.subscriptions.fanout import Fanout
from gql_api.api.subscriptions.send_buffer import Ending, Policy, SendBuffer, WaitingReader
from gql_api.record.fields import Status
from gql_api.record.model import Version


def _version(revision: int) -> Version:
    return Version(revision, datetime.fromtimestamp(revision, UTC), Status.STARTED)


class _Source:
    """A source of states that are read and published."""

    def __init__(self, fanout: Fanout) -> None:
        self.fanout = fanout
        self.revision = 1
        self.reads = 0
        self.error: Exception | None = None
        self.readable = asyncio.Event()
        self.readable.set()

    async def read(self) -> Version:
        """Read the state as soon as the test lets it be read."""
        self.reads += 1
        revision = self.revision
        await self.readable.wait()
        if self.error is not None:
            raise self.error
        return _version(revision)

    def publish(self, revision: int) -> None:
        """Publish a state."""
        self.fanout.version = _version(revision)
        self.fanout.publish(b"%d" % revision)


@pytest.fixture
def restarted() -> list[SendBuffer]:
    """The subscribers that need another execution."""
    return []


@pytest.fixture
def source(restarted: list[SendBuffer]) -> _Source:
    """The source of a shared execution."""

    def restart(late: Iterable[SendBuffer]) -> None:
        restarted.extend(late)

    return _Source(Fanout(restart))


def _join(source: _Source) -> SendBuffer:
    buffer = SendBuffer(Policy.EVERY, WaitingReader())
    source.fanout.join(buffer)
    return buffer


async def _received(buffer: SendBuffer) -> list[bytes]:
    payloads: list[bytes] = []

    async def some() -> bool:
        payloads.extend(buffer.take()[0])
        return bool(payloads)

    await wait_until_async(some)
    return payloads


async def test_a_late_joiner_hears_nothing_older_than_its_join(source: _Source) -> None:
    """While MongoDB is being read for it, older events that are still under way are not its first payload."""
    first = _join(source)
    await source.fanout.snapshot(source.read)
    source.publish(1)
    assert await _received(first) == [b"1"]
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
    assert await _received(late) == [b"5", b"6"]
    assert await _received(first) == [b"2", b"3", b"4", b"5", b"6"]


async def _true(value: bool) -> bool:
    return value


async def test_a_late_joiner_does_not_wait_for_what_was_lost(source: _Source) -> None:
    """MongoDB lost the version that its read has shown: the correction is the first payload."""
    first = _join(source)
    await source.fanout.snapshot(source.read)
    source.publish(3)
    source.revision = 5
    late = _join(source)
    await wait_until_async(lambda: _true(source.reads == 2))
    source.publish(4)
    assert late.take() == ([], None)
    source.publish(2)
    assert await _received(late) == [b"2"]
    assert await _received(first) == [b"3", b"4", b"2"]


async def test_a_late_joiner_gets_the_last_payload_when_it_is_current(source: _Source) -> None:
    """Nothing is executed for it: it has the bytes that the others have had."""
    _join(source)
    await source.fanout.snapshot(source.read)
    source.publish(1)
    assert await _received(_join(source)) == [b"1"]


async def test_joins_that_come_together_are_one_read(source: _Source) -> None:
    """Five hundred who join while one read is under way share the next."""
    _join(source)
    await source.fanout.snapshot(source.read)
    source.publish(1)
    source.readable.clear()
    early = _join(source)
    await wait_until_async(lambda: _true(source.reads == 2))
    late = [_join(source) for _ in range(500)]
    source.readable.set()
    assert [await _received(buffer) for buffer in [early, *late]] == [[b"1"]] * 501
    assert source.reads == 3


async def test_who_cannot_be_answered_begins_anew(source: _Source, restarted: list[SendBuffer]) -> None:
    """A read that fails for a late joiner is no matter of the others."""
    first = _join(source)
    await source.fanout.snapshot(source.read)
    source.publish(1)
    source.error = RuntimeError("MongoDB is away")
    late = _join(source)
    await wait_until_async(lambda: _true(restarted == [late]))
    source.publish(2)
    assert await _received(first) == [b"1", b"2"]
    assert late.take() == ([], None)


async def test_who_joined_after_the_last_read_begins_anew(source: _Source, restarted: list[SendBuffer]) -> None:
    """An execution that ends has not answered those for whom MongoDB was not read, or not published."""
    first = _join(source)
    await source.fanout.snapshot(source.read)
    source.publish(1)
    source.readable.clear()
    reading = _join(source)
    await wait_until_async(lambda: _true(source.reads == 2))
    unread = _join(source)
    source.fanout.end(Ending())
    assert restarted == [reading, unread]
    assert first.take() == ([b"1"], Ending())
    assert source.fanout.is_empty


async def test_the_error_of_the_first_read_is_told_to_all_who_asked(
    source: _Source, restarted: list[SendBuffer]
) -> None:
    """Who joined while that read was under way has not asked, and begins anew."""
    first, second = _join(source), _join(source)
    source.error = RuntimeError("there is no such task")
    source.readable.clear()
    reading = asyncio.create_task(source.fanout.snapshot(source.read))
    await wait_until_async(lambda: _true(source.reads == 1))
    late = _join(source)
    source.readable.set()
    with pytest.raises(RuntimeError):
        await reading
    source.fanout.publish(b"error", failed=True)
    source.fanout.end(Ending())
    assert first.take() == second.take() == ([b"error"], Ending())
    assert restarted == [late]


async def test_a_refusal_is_told_to_all(source: _Source, restarted: list[SendBuffer]) -> None:
    """An operation that is not valid is that for everybody."""
    both = [_join(source), _join(source)]
    refusal = Ending(b"[]", is_refusal=True)
    source.fanout.end(refusal)
    assert [buffer.take() for buffer in both] == [([], refusal)] * 2
    assert restarted == []


async def test_a_source_of_events_tells_who_joins_from_then_on() -> None:
    """Without a state to be read nobody is held back."""
    fanout = Fanout(lambda _late: None, holds_back=False)
    buffer = SendBuffer(Policy.EVERY, WaitingReader())
    fanout.publish(b"1")
    fanout.join(buffer)
    fanout.publish(b"2")
    assert buffer.take() == ([b"2"], None)


async def test_an_event_that_cannot_be_completed_is_left_to_graphql_core() -> None:
    """What the plan says is published at once; where it fails nothing is, and the failure is counted once."""
    name, labels = "gql_api_execution_fallbacks_total", {"reason": "unexpected"}
    before = REGISTRY.get_sample_value(name, labels) or 0
    fanout = Fanout(lambda _late: None, holds_back=False)
    buffer = SendBuffer(Policy.EVERY, WaitingReader())
    fanout.join(buffer)
    assert not fanout.deliver(1)
    fanout.complete = lambda event: {"half": 1 / event}
    assert fanout.deliver(2)
    assert not fanout.deliver(0)
    assert not fanout.deliver(0)
    assert (REGISTRY.get_sample_value(name, labels) or 0) == before + 1
    assert buffer.take() == ([b'{"data":{"half":0.5}}'], None)


@pytest.mark.parametrize("way", ["opens", "ends"])
async def test_who_has_to_know_waits_until_nothing_is_missed(source: _Source, way: str) -> None:
    """All who wait hear when the source is subscribed, or that there will be none; later ones need not wait."""
    waiting = [asyncio.create_task(source.fanout.opened()) for _ in range(2)]
    done, _ = await asyncio.wait(waiting, timeout=0.05)
    assert not done
    if way == "opens":
        source.fanout.open()
    else:
        source.fanout.end(Ending())
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    await asyncio.wait_for(source.fanout.opened(), 5)
