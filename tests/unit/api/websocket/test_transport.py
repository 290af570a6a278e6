from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketState
from support import wait_until_async
from websockets.frames import Frame
from websockets.streams import StreamReader

from gql_api.api.websocket.transport import AsgiTransport, framed


@pytest.mark.parametrize("fails", [False, True])
async def test_any_other_server_takes_one_message_after_the_other(*, fails: bool) -> None:
    """Until it has taken what was written the wire is paused; a socket that is gone pauses nobody for ever."""
    server_takes, taken, told = asyncio.Event(), list[object](), list[str]()

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        await server_takes.wait()
        if fails:
            raise OSError("gone")
        taken.append(message["text"])

    websocket = WebSocket({"type": "websocket", "headers": []}, receive, send)
    websocket.application_state = WebSocketState.CONNECTED
    wire = AsgiTransport(websocket)
    wire.on_paused, wire.on_writable = (lambda: told.append("paused")), (lambda: told.append("writable"))
    wire.write([b"one", b"two"])
    assert (wire.is_writable, told) == (False, ["paused"])
    server_takes.set()

    async def is_writable() -> bool:
        return wire.is_writable

    await wait_until_async(is_writable)
    assert (taken, told) == ([] if fails else ["one", "two"], ["paused", "writable"])


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
