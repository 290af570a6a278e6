from __future__ import annotations

import asyncio
import functools

import pytest

from gql_api.aio.tick import TickQueue
from gql_api.api.subscriptions.fanout import Fanout
from gql_api.api.subscriptions.send_buffer import Ending, Policy, SendBuffer
from gql_api.api.websocket.transport import Transport
from gql_api.api.websocket.writer import SocketWriter


class _Wire(Transport):
    """A socket whose client reads when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[bytes]] = []

    def write(self, messages: list[bytes]) -> None:
        """Keep what is written."""
        self.writes.append(messages)


async def _turn() -> None:
    """Let the event loop turn once."""
    turned = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turned.set_result, None)
    await turned


async def test_what_comes_together_leaves_in_one_write() -> None:
    """Payloads of several operations within a turn are one write, in the order in which they came, before any end."""
    wire, ended = _Wire(), list[SendBuffer]()
    outgoing = SocketWriter(wire, ended.append, TickQueue())
    one, two = (SendBuffer(Policy.EVERY, outgoing, label) for label in (b'"1"', b'"2"'))
    one.put(b"a")
    two.put(b"b")
    one.put(b"c")
    one.end(Ending())
    two.end(Ending(b"[]"))
    assert wire.writes == []
    await _turn()
    assert wire.writes == [
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
    """One task's event is written while it is told; with another's it waits for that, and both are one write."""
    wire, turn, written = _Wire(), TickQueue(), list[int]()
    outgoing = SocketWriter(wire, lambda _outbox: None, turn)

    def tell(outbox: SendBuffer) -> None:
        outbox.put(b"a")
        written.append(len(wire.writes))

    for number in range(tasks):
        turn.schedule(functools.partial(tell, SendBuffer(Policy.LATEST, outgoing, b'"%d"' % number)))
    await _turn()
    assert written == ([1] if tasks == 1 else [0, 0])
    assert [len(messages) for messages in wire.writes] == [tasks]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_socket_that_fails_keeps_nothing_from_the_others(
    caplog: pytest.LogCaptureFixture, *, alone: bool
) -> None:
    """What is told to many goes on to those behind a socket that cannot be written to, and the failure is logged."""

    class Broken(_Wire):
        def write(self, messages: list[bytes]) -> None:
            raise RuntimeError(f"{len(messages)} not written")

    turn, wire = TickQueue(), _Wire()
    audience = Fanout(holds_back=False)
    for one in (Broken(), wire):
        audience.join(SendBuffer(Policy.LATEST, SocketWriter(one, lambda _outbox: None, turn), b'"1"'))
    if not alone:
        turn.schedule(lambda: None)
    turn.schedule(lambda: audience.publish(b"a"))
    await _turn()
    assert wire.writes == [[b'{"id":"1","type":"next","payload":a}']]
    assert "1 not written" in caplog.text


async def test_nothing_is_taken_for_a_client_that_does_not_read() -> None:
    """It is told the latest state, once, when it reads again."""
    wire = _Wire()
    outgoing = SocketWriter(wire, lambda _outbox: None, TickQueue())
    outbox = SendBuffer(Policy.LATEST, outgoing, b'"1"')
    wire.pause()
    for number in range(1000):
        outbox.put(b"%d" % number)
        await _turn()
    assert wire.writes == []
    wire.resume()
    assert wire.writes == [[b'{"id":"1","type":"next","payload":999}']]
    outbox.put(b"1000")
    await _turn()
    assert wire.writes[1:] == [[b'{"id":"1","type":"next","payload":1000}']]


async def test_what_a_socket_holds_within_a_turn_is_bounded() -> None:
    """Many messages, or large ones, stay in their outbox, behind those before them; the newest state is enough."""
    wire, small, large = _Wire(), b"s", b"x" * 100_000
    outgoing = SocketWriter(wire, lambda _outbox: None, TickQueue())
    outbox, other = (SendBuffer(Policy.LATEST, outgoing, label) for label in (b'"1"', b'"2"'))
    for _ in range(1000):
        outbox.put(small)
    other.put(large)
    other.put(small)
    await _turn()
    (messages,) = wire.writes
    assert len(messages) == 64 + 1 + 1
    assert messages[-1] == b'{"id":"2","type":"next","payload":s}'


async def test_a_sender_waits_for_a_client_that_does_not_read() -> None:
    """What is not shared is not made before the client has read what there is; who gives up leaves nothing behind."""
    wire = _Wire()
    outgoing = SocketWriter(wire, lambda _outbox: None, TickQueue())
    await outgoing.send(b"1")
    wire.pause()
    sending, given_up = (asyncio.create_task(outgoing.send(message)) for message in (b"2", b"3"))
    await _turn()
    await _turn()
    assert not sending.done()
    given_up.cancel()
    wire.resume()
    await asyncio.wait_for(sending, 5)
    assert wire.writes == [[b"1"], [b"2"]]


async def test_a_write_is_bounded() -> None:
    """Much that waits leaves in several writes, so that the socket can say when it has had enough."""
    wire = _Wire()
    outgoing = SocketWriter(wire, lambda _outbox: None, TickQueue())
    for number in range(20):
        outbox = SendBuffer(Policy.LATEST, outgoing, b'"%d"' % number)
        outbox.put(b"x" * 100_000)
    await _turn()
    wire.pause()
    written = len(wire.writes)
    await _turn()
    assert len(wire.writes) == written < 7
    wire.resume()
    while sum(map(len, wire.writes)) < 20:
        await _turn()
    assert all(len(messages) <= 3 for messages in wire.writes)


async def test_an_operation_that_the_client_ended_is_not_sent() -> None:
    """What waited for the client to read is dropped: its id may be another operation's by then."""
    wire = _Wire()
    outgoing = SocketWriter(wire, lambda _outbox: None, TickQueue())
    outbox = SendBuffer(Policy.LATEST, outgoing, b'"1"')
    wire.pause()
    outbox.put(b"1")
    outgoing.unmark(outbox)
    wire.resume()
    await _turn()
    assert wire.writes == []


async def test_what_a_turn_brings_up_is_done_in_it_once() -> None:
    """An event that is handed over is sent in the same turn; whoever goes on for ever lets the others have theirs."""
    turn, done = TickQueue(), list[str]()

    def endless() -> None:
        done.append("endless")
        turn.schedule(endless)

    def hand_over() -> None:
        done.append("handed over")
        turn.schedule(lambda: done.append("sent"))

    turn.schedule(hand_over)
    turn.schedule(endless)
    await asyncio.sleep(0)
    assert done == ["handed over", "endless", "sent", "endless"]
    await asyncio.sleep(0)
    assert done[4:] == ["endless", "endless"]


async def test_who_fails_in_a_turn_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What fails is logged, and what comes behind it is done, also in the turns to come."""
    turn, done = TickQueue(), list[int]()

    def fail() -> None:
        raise RuntimeError("gone")

    for number in (1, 2):
        turn.schedule(fail)
        turn.schedule(functools.partial(done.append, number))
        await asyncio.sleep(0)
    assert done == [1, 2]
    assert caplog.text.count("callback at the end of a tick failed") == 2
