from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

import pytest
from websockets.frames import Frame
from websockets.streams import StreamReader

from gql_api.outbox import Ending, Outbox, Policy
from gql_api.wire import Outgoing, Turn, framed


class _Wire:
    """A socket whose client reads when the test says so."""

    def __init__(self) -> None:
        self.on_writable: Callable[[], None] | None = None
        self.is_writable = True
        self.writes: list[list[bytes]] = []

    def write(self, messages: list[bytes]) -> None:
        """Keep what is written."""
        self.writes.append(messages)

    def read(self) -> None:
        """Let the client read again."""
        self.is_writable = True
        if self.on_writable is not None:
            self.on_writable()


async def _turn() -> None:
    """Let the event loop turn once."""
    turned = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turned.set_result, None)
    await turned


async def test_what_comes_together_leaves_in_one_write() -> None:
    """Payloads of several operations within a turn are one write, in the order of the operations."""
    wire, ended = _Wire(), list[Outbox]()
    outgoing = Outgoing(wire, ended.append, Turn())
    one, two = (Outbox(Policy.EVERY, outgoing.mark, label) for label in (b'"1"', b'"2"'))
    one.put(b"a")
    two.put(b"b")
    one.put(b"c")
    one.end(Ending())
    two.end(Ending(b"[]"))
    await _turn()
    assert wire.writes == [
        [
            b'{"id":"1","type":"next","payload":a}',
            b'{"id":"1","type":"next","payload":c}',
            b'{"id":"1","type":"complete"}',
            b'{"id":"2","type":"next","payload":b}',
            b'{"id":"2","type":"error","payload":[]}',
        ]
    ]
    assert ended == [one, two]


async def test_nothing_is_taken_for_a_client_that_does_not_read() -> None:
    """It is told the latest state, once, when it reads again."""
    wire = _Wire()
    outgoing = Outgoing(wire, lambda _outbox: None, Turn())
    outbox = Outbox(Policy.LATEST, outgoing.mark, b'"1"')
    wire.is_writable = False
    for number in range(1000):
        outbox.put(b"%d" % number)
        await _turn()
    assert wire.writes == []
    wire.read()
    assert wire.writes == [[b'{"id":"1","type":"next","payload":999}']]


async def test_a_sender_waits_for_a_client_that_does_not_read() -> None:
    """What is not shared is not made before the client has read what there is; who gives up leaves nothing behind."""
    wire = _Wire()
    outgoing = Outgoing(wire, lambda _outbox: None, Turn())
    await outgoing.send(b"1")
    wire.is_writable = False
    sending, given_up = (asyncio.create_task(outgoing.send(message)) for message in (b"2", b"3"))
    await _turn()
    await _turn()
    assert not sending.done()
    given_up.cancel()
    wire.read()
    await asyncio.wait_for(sending, 5)
    assert wire.writes == [[b"1"], [b"2"]]


async def test_a_write_is_bounded() -> None:
    """Much that waits leaves in several writes, so that the socket can say when it has had enough."""
    wire = _Wire()
    outgoing = Outgoing(wire, lambda _outbox: None, Turn())
    for number in range(20):
        outbox = Outbox(Policy.LATEST, outgoing.mark, b'"%d"' % number)
        outbox.put(b"x" * 100_000)
    await _turn()
    wire.is_writable = False
    written = len(wire.writes)
    await _turn()
    assert len(wire.writes) == written < 7
    wire.read()
    while sum(map(len, wire.writes)) < 20:
        await _turn()
    assert all(len(messages) <= 3 for messages in wire.writes)


async def test_an_operation_that_the_client_ended_is_not_sent() -> None:
    """Its id may be another operation's by now."""
    wire = _Wire()
    outgoing = Outgoing(wire, lambda _outbox: None, Turn())
    outbox = Outbox(Policy.LATEST, outgoing.mark, b'"1"')
    outbox.put(b"1")
    outgoing.unmark(outbox)
    await _turn()
    assert wire.writes == []


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_frames_are_read_by_a_client(size: int) -> None:
    """Every length has its own form of header; two frames in one write are two messages."""
    message = b"x" * size
    reader = StreamReader()
    reader.feed_data(framed([message, message]))
    for _ in range(2):
        parsing = Frame.parse(reader.read_exact, mask=False)
        with pytest.raises(StopIteration) as parsed:
            next(parsing)
        frame = parsed.value.value
        assert (frame.opcode, frame.fin, bytes(frame.data)) == (1, True, message)
    assert not reader.buffer


async def test_what_a_turn_brings_up_is_done_in_it_once() -> None:
    """An event that is handed over is sent in the same turn; whoever goes on for ever lets the others have theirs."""
    turn, done = Turn(), list[str]()

    def endless() -> None:
        done.append("endless")
        turn.later(endless)

    def hand_over() -> None:
        done.append("handed over")
        turn.later(lambda: done.append("sent"))

    turn.later(hand_over)
    turn.later(endless)
    await asyncio.sleep(0)
    assert done == ["handed over", "endless", "sent", "endless"]
    await asyncio.sleep(0)
    assert done[4:] == ["endless", "endless"]


async def test_who_fails_in_a_turn_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What fails is logged, and what comes behind it is done, also in the turns to come."""
    turn, done = Turn(), list[int]()

    def fail() -> None:
        raise RuntimeError("gone")

    for number in (1, 2):
        turn.later(fail)
        turn.later(functools.partial(done.append, number))
        await asyncio.sleep(0)
    assert done == [1, 2]
    assert caplog.text.count("could not be done to its end") == 2
