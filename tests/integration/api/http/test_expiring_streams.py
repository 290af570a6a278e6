"""The end of a token while its stream is open."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator

import httpx
import plain_http
import pytest
from sockets import socket_of
from support import wait_until_async
from tokens import Site, Tokens, with_tokens

from gql_api.api.subscriptions.backlog import BACKLOG
from gql_api.record import writes
from gql_api.record.model import NewTask
from gql_api.settings import Settings
from gql_api.worker.store.tasks import Store

pytestmark = pytest.mark.usefixtures("prepared")

_EVENTS, _PARTS = "text/event-stream", 'multipart/mixed;subscriptionSpec="1.0"'


@pytest.fixture
def tokens() -> Tokens:
    """Tokens that a test hands out."""
    return Tokens()


@pytest.fixture
async def site(settings: Settings, tokens: Tokens) -> AsyncIterator[Site]:
    """An API that accepts the tokens."""
    async with with_tokens(settings, tokens) as site:
        yield site


@pytest.fixture
async def port(site: Site) -> AsyncIterator[int]:
    """Its port."""
    async with socket_of(site.served) as port:
        yield port


class _Stream:
    """A stream of a client that writes down what it receives."""

    def __init__(self, port: int, token: str, accept: str, query: str) -> None:
        self.text = ""
        self.ended_at = 0.0
        self._port, self._query = port, query
        self._headers = {"Authorization": f"Bearer {token}", "Accept": accept}
        self.began = asyncio.Event()
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        url = f"http://127.0.0.1:{self._port}/graphql"
        async with (
            plain_http.AsyncClient(timeout=20) as client,
            client.stream("POST", url, json={"query": self._query}, headers=self._headers) as answer,
        ):
            try:
                async for text in answer.aiter_text():
                    self.text += text
                    if '"revision":1' in self.text:
                        self.began.set()
            finally:
                self.ended_at = time.time()


@pytest.mark.parametrize("ends_by", ["expiry", "revocation"])
@pytest.mark.parametrize("accept", [_EVENTS, _PARTS], ids=["events", "multipart"])
async def test_a_stream_ends_with_its_token(
    port: int,
    tokens: Tokens,
    worker: Store,
    task_id: str,
    caplog: pytest.LogCaptureFixture,
    accept: str,
    ends_by: str,
) -> None:
    """The client learns why, and its stream does not end as a task that has ended does; the log has no error."""
    if ends_by == "expiry":
        tokens.issue_from_first_use("short", 1.0)
    else:
        tokens.issue("short")
    query = f'subscription {{ taskUpdated(id: "{task_id}") {{ revision }} }}'
    stream = _Stream(port, "short", accept, query)
    if ends_by == "revocation":  # a token that expires may do so before the first result
        await asyncio.wait_for(stream.began.wait(), 10)
        ends_at = time.time()
        tokens.revoke("short")
    if accept == _EVENTS:
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await stream.task
    else:
        await stream.task
    if ends_by == "expiry":
        expires_at = tokens.principals["short"].expires_at
        assert expires_at is not None
        ends_at = expires_at.timestamp()
    assert ends_at <= stream.ended_at
    await asyncio.to_thread(worker.change, writes.start(task_id, worker="w"))
    last = stream.text.strip().splitlines()[-1 if accept == _EVENTS else -2]
    (error,) = json.loads(last.removeprefix(":"))["errors"]
    assert error["extensions"] == {"code": "UNAUTHENTICATED"}
    assert error["message"].startswith("Token expired" if ends_by == "expiry" else "Token revoked")
    assert '"revision":2' not in stream.text
    assert "event: complete" not in stream.text
    assert tokens.watchers("short") == 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_what_a_client_has_not_read_is_dropped(
    port: int, site: Site, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that its client does not read is cut off with what waits in the process."""
    tokens.issue("short")
    large = "x" * 1_000_000
    await site.services.store.create(NewTask(id="large", name="add", args=[large], kwargs={"x": large}))
    fields = " ".join(f"a{number}: args b{number}: kwargs" for number in range(5))
    body = json.dumps({"query": f'subscription {{ taskUpdated(id: "large") {{ {fields} }} }}'})
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(
        f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer short\r\nAccept: {_EVENTS}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )

    async def waits() -> bool:
        return BACKLOG.size > 1_000_000

    await wait_until_async(waits)
    tokens.revoke("short")

    async def is_over() -> bool:
        return tokens.watchers("short") == BACKLOG.size == 0

    await wait_until_async(is_over)
    received = await reader.read(-1)
    assert len(received) < 10_000_000
    assert b"UNAUTHENTICATED" not in received
    writer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
