from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketState
from support import wait_until_async
from websockets.frames import Frame
from websockets.streams import StreamReader

from gql_api.api.websocket.transport import AsgiTransport, encode_frames


@pytest.mark.parametrize("fails", [False, True])
async def test_any_other_server_takes_one_message_after_the_other(*, fails: bool) -> None:
    """The transport is paused until the server has taken all messages, or the socket turns out to be gone."""
    may_take, taken, reports = asyncio.Event(), list[object](), list[str]()

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        await may_take.wait()
        if fails:
            raise OSError("gone")
        taken.append(message["text"])

    websocket = WebSocket({"type": "websocket", "headers": []}, receive, send)
    websocket.application_state = WebSocketState.CONNECTED
    transport = AsgiTransport(websocket)
    transport.on_paused, transport.on_writable = (
        (lambda: reports.append("paused")),
        (lambda: reports.append("writable")),
    )
    transport.write([b"one", b"two"])
    assert (transport.is_writable, reports) == (False, ["paused"])
    may_take.set()

    async def is_writable() -> bool:
        return transport.is_writable

    await wait_until_async(is_writable)
    assert (taken, reports) == ([] if fails else ["one", "two"], ["paused", "writable"])


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_frames_are_read_by_a_client(size: int) -> None:
    """A client parses every form of header, and two frames in one write as two messages."""
    message = b"x" * size
    reader = StreamReader()
    reader.feed_data(encode_frames([message, message]))
    for _ in range(2):
        parsing = Frame.parse(reader.read_exact, mask=False)
        with pytest.raises(StopIteration) as parsed:
            next(parsing)
        frame = parsed.value.value
        assert (frame.opcode, frame.fin, bytes(frame.data)) == (1, True, message)
    assert not reader.buffer
