from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.types import Message
from support import wait_until_async

from gql_api.access.principal import Principal
from gql_api.api.http.negotiation import EVENT_STREAM, MULTIPART
from gql_api.api.http.stream_formats import FORMATS, StreamFormat
from gql_api.api.http.streaming import StreamedResponse
from gql_api.api.subscriptions.executions import DrainedError

FAST = dataclasses.replace(FORMATS[EVENT_STREAM], heartbeat_seconds=0.01)


class Client:
    """The client side of an ASGI application, which reads while ``reads`` is set."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.gone = asyncio.Event()

    @property
    def body(self) -> bytes:
        """All that it received."""
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def is_complete(self) -> bool:
        """True when the answer is complete."""
        return self.messages[-1].get("more_body") is False

    async def send(self, message: Message) -> None:
        """Receive a message."""
        await self.reads.wait()
        self.messages.append(message)

    async def receive(self) -> Message:
        """Return its disconnect, once it has disconnected."""
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def gets(
        self, results: AsyncGenerator[bytes, None], stream_format: StreamFormat, ends_at: float | None = None
    ) -> None:
        """Receive an answer to its end, perhaps with a token that is valid until a time."""
        expires_at = None if ends_at is None else datetime.fromtimestamp(ends_at, UTC)
        response = StreamedResponse(results, stream_format, Principal("me", frozenset(), expires_at=expires_at))
        await asyncio.wait_for(response({"type": "http"}, self.receive, self.send), 30)


async def _until(condition: Callable[[], Any]) -> None:
    async def holds() -> object:
        return condition()

    await wait_until_async(holds)


async def _ended(by: Exception | None) -> AsyncGenerator[bytes, None]:
    yield b"1"
    if by is not None:
        raise by


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        (EVENT_STREAM, b":\n\nevent: next\ndata: 1\n\nevent: complete\ndata:\n\n"),
        (MULTIPART, b'--graphql\r\nContent-Type: application/json\r\n\r\n{"payload":1}\r\n--graphql--\r\n'),
    ],
)
async def test_results_are_written_in_the_format(media_type: str, expected: bytes) -> None:
    """The opening, the results and the end are right to the byte."""
    client = Client()
    await client.gets(_ended(None), FORMATS[media_type])
    assert client.body == expected
    assert client.is_complete


@pytest.mark.parametrize(
    ("media_type", "before"),
    [
        (EVENT_STREAM, b'event: next\ndata: {"errors":[{"message":"Internal error '),
        (MULTIPART, b'Content-Type: application/json\r\n\r\n{"payload":null,"errors":[{"message":"Internal error '),
    ],
)
async def test_what_breaks_off_says_so(media_type: str, before: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The client receives an id only; the log has the same id with the reason."""
    client = Client()
    with caplog.at_level(logging.ERROR):
        await client.gets(_ended(RuntimeError("secret")), FORMATS[media_type])
    assert before in client.body
    assert client.body.endswith(FORMATS[media_type].end)
    assert b"secret" not in client.body
    (record,) = [record for record in caplog.records if record.name == "gql_api.api.execution.masking"]
    assert record.getMessage().rpartition(" ")[2].encode() in client.body


@pytest.mark.parametrize("media_type", [EVENT_STREAM, MULTIPART])
async def test_what_is_drained_stays_unfinished(media_type: str) -> None:
    """When the process stops first, nothing claims that the operation has come to its end."""
    client = Client()
    await client.gets(_ended(DrainedError()), FORMATS[media_type])
    assert FORMATS[media_type].format_result(b"1") in client.body
    assert not client.body.endswith(FORMATS[media_type].end)
    assert not client.is_complete


async def test_no_result_is_asked_for_before_it_is_wanted() -> None:
    """While a client does not read, no result is produced for it."""
    asked = 0

    async def results() -> AsyncGenerator[bytes, None]:
        nonlocal asked
        for asked in range(1, 4):  # noqa: B007 - the test reads it
            yield b"1"

    client = Client()
    client.reads.clear()
    getting = asyncio.create_task(client.gets(results(), FORMATS[EVENT_STREAM]))
    for _ in range(50):
        await asyncio.sleep(0)
    assert asked == 0
    client.reads.set()
    await getting
    assert asked == 3


async def test_a_client_that_goes_ends_its_operation() -> None:
    """The source is closed at once, though it has more to come."""
    closed = asyncio.Event()

    async def results() -> AsyncGenerator[bytes, None]:
        try:
            yield b"1"
            await asyncio.Event().wait()
        finally:
            closed.set()

    client = Client()
    getting = asyncio.create_task(client.gets(results(), FORMATS[EVENT_STREAM]))
    await _until(lambda: b"next" in client.body)
    client.gone.set()
    await getting
    assert closed.is_set()
    assert not client.is_complete


async def test_signs_of_life_stand_between_results() -> None:
    """Heartbeats are sent whole, while there is no result to send."""
    more = asyncio.Event()

    async def results() -> AsyncGenerator[bytes, None]:
        await more.wait()
        yield b"1"

    client = Client()
    getting = asyncio.create_task(client.gets(results(), FAST))
    await _until(lambda: client.body.count(FAST.heartbeat) > 3)
    more.set()
    await getting
    quiet, _, rest = client.body.partition(FAST.format_result(b"1"))
    assert quiet == FAST.heartbeat * (len(quiet) // len(FAST.heartbeat))
    assert rest == FAST.end


_EXPIRED = b'[{"message":"Token expired. The request needs a valid token","extensions":{"code":"UNAUTHENTICATED"}}]'


@pytest.mark.parametrize(
    ("media_type", "end", "is_complete"),
    [
        (EVENT_STREAM, b': {"errors":%b}\n\n' % _EXPIRED, False),
        (
            MULTIPART,
            b'\r\nContent-Type: application/json\r\n\r\n{"payload":null,"errors":%b}\r\n--graphql--\r\n' % _EXPIRED,
            True,
        ),
    ],
    ids=["events", "multipart"],
)
async def test_a_stream_ends_with_its_token(media_type: str, end: bytes, *, is_complete: bool) -> None:
    """Its end is none of the operation, and what produces its results is closed."""
    closed = asyncio.Event()

    async def results() -> AsyncGenerator[bytes, None]:
        try:
            yield b"1"
            await asyncio.Event().wait()
        finally:
            closed.set()

    client = Client()
    # Long enough for the first result on a loaded machine.
    await client.gets(results(), FORMATS[media_type], time.time() + 3.0)
    assert client.body.endswith(FORMATS[media_type].format_result(b"1") + end)
    assert client.is_complete is is_complete
    assert closed.is_set()


@pytest.mark.parametrize("reads", [True, False])
async def test_no_result_is_sent_from_the_expiry_on(*, reads: bool) -> None:
    """A result that comes at that very time is not sent, nor is one that waited for the client to read."""
    # Long enough for the first results on a loaded machine.
    client, began, ends_at = Client(), asyncio.Event(), time.time() + 3.0

    async def results() -> AsyncGenerator[bytes, None]:
        yield b"0"
        began.set()
        if not reads:
            client.reads.clear()
        while True:
            time.sleep(0.01)  # noqa: ASYNC251 - the event loop has no time for timers
            yield b"%f" % time.time()

    async def is_over() -> bool:
        return time.time() > ends_at + 0.1

    getting = asyncio.create_task(client.gets(results(), FORMATS[EVENT_STREAM], ends_at))
    await began.wait()
    if not reads:
        await wait_until_async(is_over)
        client.reads.set()
    await getting
    times = [float(line[6:]) for line in client.body.split(b"\n") if line.startswith(b"data: ")]
    assert all(each <= ends_at + 0.011 for each in times)
    assert (len(times) > 1) is reads


async def test_a_stream_whose_token_has_expired_already_is_a_stream_all_the_same() -> None:
    """The refusal is a part of its format, which a client finds by the boundary before it."""

    async def results() -> AsyncGenerator[bytes, None]:
        yield b"0"

    client = Client()
    await client.gets(results(), FORMATS[MULTIPART], time.time() - 1.0)
    assert client.body == FORMATS[MULTIPART].opening + FORMATS[MULTIPART].format_refusal(_EXPIRED)
