from __future__ import annotations

import asyncio
import functools
import time

import pytest

from gql_api.aio.tick import TickQueue
from gql_api.api.subscriptions.backlog import BACKLOG
from gql_api.api.subscriptions.fanout import Fanout
from gql_api.api.subscriptions.send_buffer import Ending, Policy, SendBuffer
from gql_api.api.websocket.transport import Transport
from gql_api.api.websocket.writer import SocketWriter


class _Transport(Transport):
    """A socket whose client reads unless the test pauses it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[bytes]] = []

    @property
    def unread_bytes(self) -> int:
        """Return the size of all writes while the client does not read."""
        return 0 if self.is_writable else sum(len(message) for write in self.writes for message in write)

    def abort(self) -> None:
        """Do nothing."""

    def write(self, messages: list[bytes]) -> None:
        """Record a write."""
        self.writes.append(messages)


async def _tick() -> None:
    """Let the event loop run one tick."""
    ticked = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(ticked.set_result, None)
    await ticked


async def test_what_comes_together_leaves_in_one_write() -> None:
    """Payloads of several operations within a tick are one write, in order, and before any end."""
    transport, ended = _Transport(), list[SendBuffer]()
    writer = SocketWriter(transport, ended.append, TickQueue())
    one, two = (SendBuffer(Policy.EVERY, writer, label) for label in (b'"1"', b'"2"'))
    one.put(b"a")
    two.put(b"b")
    one.put(b"c")
    one.end(Ending())
    two.end(Ending(b"[]"))
    assert transport.writes == []
    await _tick()
    assert transport.writes == [
        [
            b'{"id":"1","type":"next","payload":a}',
            b'{"id":"2","type":"next","payload":b}',
            b'{"id":"1","type":"next","payload":c}',
            b'{"id":"1","type":"complete"}',
            b'{"id":"2","type":"error","payload":[]}',
        ]
    ]
    assert ended == [one, two]


@pytest.mark.parametrize("tasks", [1, 2])
async def test_what_comes_alone_leaves_at_once(tasks: int) -> None:
    """The event of one task is written while it is published; those of two in one tick are one write at its end."""
    transport, tick, written = _Transport(), TickQueue(), list[int]()
    writer = SocketWriter(transport, lambda _buffer: None, tick)

    def publish(buffer: SendBuffer) -> None:
        buffer.put(b"a")
        written.append(len(transport.writes))

    for number in range(tasks):
        tick.schedule(functools.partial(publish, SendBuffer(Policy.LATEST, writer, b'"%d"' % number)))
    await _tick()
    assert written == ([1] if tasks == 1 else [0, 0])
    assert [len(messages) for messages in transport.writes] == [tasks]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_socket_that_fails_keeps_nothing_from_the_others(
    caplog: pytest.LogCaptureFixture, *, alone: bool
) -> None:
    """A payload reaches the other sockets when the write to one fails, and the failure is logged."""

    class Broken(_Transport):
        def write(self, messages: list[bytes]) -> None:
            raise RuntimeError(f"{len(messages)} not written")

    tick, transport = TickQueue(), _Transport()
    fanout = Fanout(holds_back=False)
    for one in (Broken(), transport):
        fanout.join(SendBuffer(Policy.LATEST, SocketWriter(one, lambda _buffer: None, tick), b'"1"'))
    if not alone:
        tick.schedule(lambda: None)
    tick.schedule(lambda: fanout.publish(b"a"))
    await _tick()
    assert transport.writes == [[b'{"id":"1","type":"next","payload":a}']]
    assert "1 not written" in caplog.text


async def test_nothing_is_taken_for_a_client_that_does_not_read() -> None:
    """It receives the latest state, once, when it reads again."""
    transport = _Transport()
    writer = SocketWriter(transport, lambda _buffer: None, TickQueue())
    buffer = SendBuffer(Policy.LATEST, writer, b'"1"')
    transport.pause()
    for number in range(1000):
        buffer.put(b"%d" % number)
        await _tick()
    assert transport.writes == []
    transport.resume()
    assert transport.writes == [[b'{"id":"1","type":"next","payload":999}']]
    buffer.put(b"1000")
    await _tick()
    assert transport.writes[1:] == [[b'{"id":"1","type":"next","payload":1000}']]


async def test_what_a_socket_holds_within_a_turn_is_bounded() -> None:
    """Many messages, or large ones, stay in their send buffer, in order, which keeps the newest state only."""
    transport, small, large = _Transport(), b"s", b"x" * 100_000
    writer = SocketWriter(transport, lambda _buffer: None, TickQueue())
    buffer, other = (SendBuffer(Policy.LATEST, writer, label) for label in (b'"1"', b'"2"'))
    for _ in range(1000):
        buffer.put(small)
    other.put(large)
    other.put(small)
    await _tick()
    (messages,) = transport.writes
    assert len(messages) == 64 + 1 + 1
    assert messages[-1] == b'{"id":"2","type":"next","payload":s}'


async def test_a_sender_waits_for_a_client_that_does_not_read() -> None:
    """A message waits until the client has read those before it, and a cancelled sender leaves nothing behind."""
    transport = _Transport()
    writer = SocketWriter(transport, lambda _buffer: None, TickQueue())
    await writer.send(b"1")
    transport.pause()
    sending, given_up = (asyncio.create_task(writer.send(message)) for message in (b"2", b"3"))
    await _tick()
    await _tick()
    assert not sending.done()
    given_up.cancel()
    transport.resume()
    await asyncio.wait_for(sending, 5)
    assert transport.writes == [[b"1"], [b"2"]]


async def test_a_write_is_bounded() -> None:
    """A large backlog leaves in several writes, so that the transport can pause between them."""
    transport = _Transport()
    writer = SocketWriter(transport, lambda _buffer: None, TickQueue())
    for number in range(20):
        buffer = SendBuffer(Policy.LATEST, writer, b'"%d"' % number)
        buffer.put(b"x" * 100_000)
    await _tick()
    transport.pause()
    written = len(transport.writes)
    await _tick()
    assert len(transport.writes) == written < 7
    transport.resume()
    while sum(map(len, transport.writes)) < 20:
        await _tick()
    assert all(len(messages) <= 3 for messages in transport.writes)


async def test_an_operation_that_the_client_ended_is_not_sent() -> None:
    """A payload that waited for the client to read is dropped, for its id may belong to another operation by then."""
    transport = _Transport()
    writer = SocketWriter(transport, lambda _buffer: None, TickQueue())
    buffer = SendBuffer(Policy.LATEST, writer, b'"1"')
    transport.pause()
    buffer.put(b"1")
    writer.discard(buffer)
    transport.resume()
    await _tick()
    assert transport.writes == []


async def test_what_a_turn_brings_up_is_done_in_it_once() -> None:
    """An event that one callback hands to another is sent in the same tick; an endless chain does not starve others."""
    tick, done = TickQueue(), list[str]()

    def endless() -> None:
        done.append("endless")
        tick.schedule(endless)

    def hand_over() -> None:
        done.append("handed over")
        tick.schedule(lambda: done.append("sent"))

    tick.schedule(hand_over)
    tick.schedule(endless)
    await asyncio.sleep(0)
    assert done == ["handed over", "endless", "sent", "endless"]
    await asyncio.sleep(0)
    assert done[4:] == ["endless", "endless"]


async def test_who_fails_in_a_turn_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is logged, and the callbacks behind it run, in this tick and in those to come."""
    tick, done = TickQueue(), list[int]()

    def fail() -> None:
        raise RuntimeError("gone")

    for number in (1, 2):
        tick.schedule(fail)
        tick.schedule(functools.partial(done.append, number))
        await asyncio.sleep(0)
    assert done == [1, 2]
    assert caplog.text.count("callback at the end of a tick failed") == 2


async def test_what_a_client_has_not_read_is_known() -> None:
    """It counts while the client does not read: what was written, what waits in buffers, and what callers wait with."""
    transport = _Transport()
    writer = SocketWriter(transport, list[SendBuffer]().append, TickQueue())
    buffer = SendBuffer(Policy.EVERY, writer, b'"1"')
    await writer.send(b"read")
    assert BACKLOG.size == writer.unread_bytes == 0
    transport.pause()
    buffer.put(b"payload")
    sending = asyncio.create_task(writer.send(b"message"))
    await _tick()
    assert BACKLOG.size == len(b"read" + b"payload" + b"message")
    transport.resume()
    await sending
    assert BACKLOG.size == writer.unread_bytes == 0
    transport.pause()
    writer.close()
    assert BACKLOG.size == 0


@pytest.mark.parametrize("alone", [True, False])
async def test_nothing_is_sent_from_the_deadline_on(*, alone: bool) -> None:
    """A payload is dropped although nothing has closed the socket: the event loop may be late."""
    transport, tick = _Transport(), TickQueue()
    writer = SocketWriter(transport, lambda _buffer: None, tick)
    writer.deadline = time.time() + 3600
    buffer, other = (SendBuffer(Policy.EVERY, writer, label) for label in (b'"1"', b'"2"'))

    def publish(payload: bytes) -> None:
        for each in [buffer] if alone else [buffer, other]:
            each.put(payload)

    tick.schedule(functools.partial(publish, b"before"))
    if not alone:
        tick.schedule(lambda: None)
    await _tick()
    written = len(transport.writes)
    assert written == 1
    writer.deadline = time.time()
    for _ in range(100):
        tick.schedule(functools.partial(publish, b"after"))
        await _tick()
    await writer.send(b"message")
    assert len(transport.writes) == written


async def test_nothing_that_waited_is_sent_from_the_deadline_on() -> None:
    """What a client did not read in time stays in the process, and so does the end of an operation."""
    transport = _Transport()
    writer = SocketWriter(transport, lambda _buffer: None, TickQueue())
    buffer = SendBuffer(Policy.EVERY, writer, b'"1"')
    transport.pause()
    buffer.put(b"payload")
    buffer.end(Ending())
    sending = asyncio.create_task(writer.send(b"message"))
    await _tick()
    writer.deadline = time.time()
    transport.resume()
    await asyncio.wait_for(sending, 5)
    await _tick()
    assert transport.writes == []


async def test_a_writer_that_is_stopped_sends_nothing_and_keeps_nobody_waiting() -> None:
    """It says whether its client has read all that was sent."""
    transport = _Transport()
    writer = SocketWriter(transport, lambda _buffer: None, TickQueue())
    assert writer.stop()
    await writer.send(b"message")
    assert transport.writes == []
    transport = _Transport()
    writer = SocketWriter(transport, lambda _buffer: None, TickQueue())
    await writer.send(b"message")
    transport.pause()
    waiting = asyncio.create_task(writer.send(b"another"))
    await _tick()
    assert not writer.stop()
    await asyncio.wait_for(waiting, 5)
    transport.resume()
    assert transport.writes == [[b"message"]]
