"""A client of both API replicas, over HTTP, WebSocket and SSE, that tells losses from refusals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import httpx
import plain_http
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

_PROTOCOL = Subprotocol("graphql-transport-ws")
_ANSWER_SECONDS = 30.0
_MAX_BACK_OFF_SECONDS = 0.5
# The codes of errors after which a client tries again, or resumes.
_TRY_AGAIN = {"SERVICE_UNAVAILABLE", "CONFLICT", "SLOW_CONSUMER", "QUERY_TIMEOUT"}


class LossError(Exception):
    """The connection was lost, or the server asks to try again: the outcome of a call is unknown."""


class RefusedError(AssertionError):
    """The server answered with an error that a client cannot expect."""


class Transport(StrEnum):
    """A way to subscribe."""

    WEBSOCKET = "websocket"
    SSE = "sse"


@dataclass
class Client:
    """A client that knows the addresses of all replicas."""

    urls: list[str]
    chance: random.Random
    refusals: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        limits = httpx.Limits(max_connections=None)
        self._http = plain_http.AsyncClient(timeout=httpx.Timeout(_ANSWER_SECONDS), limits=limits)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def any_replica(self) -> int:
        """Return the number of a random replica."""
        return self.chance.randrange(len(self.urls))

    async def execute(self, replica: int, query: str, **variables: Any) -> dict[str, Any]:
        """Run an operation once, and return its data.

        Raises:
            LossError: it failed as calls do while servers are away.
            RefusedError: it failed otherwise.
        """
        try:
            answer = await self._http.post(self.urls[replica], json={"query": query, "variables": variables})
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise LossError(repr(error)) from error
        self._check(body)
        data: dict[str, Any] = body["data"]
        return data

    async def insist(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run an operation that is safe to repeat until a replica answers."""
        while True:
            try:
                return await self.execute(self.any_replica(), query, **variables)
            except LossError:
                await self.back_off()

    async def back_off(self) -> None:
        """Wait as a client does before it tries again."""
        await asyncio.sleep(self.chance.uniform(0.05, _MAX_BACK_OFF_SECONDS))

    async def subscribe(
        self, replica: int, transport: Transport, query: str, **variables: Any
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the results of a subscription until it completes.

        Raises:
            LossError: it ended before it was complete.
            RefusedError: it ended with an error that a client cannot expect.
        """
        subscribed = self._over_websocket if transport is Transport.WEBSOCKET else self._over_sse
        try:
            async with contextlib.aclosing(subscribed(self.urls[replica], query, variables)) as results:
                async for body in results:
                    self._check(body)
                    yield body["data"]
        except (httpx.HTTPError, OSError, WebSocketException, TimeoutError, EOFError) as error:
            raise LossError(repr(error)) from error

    async def _over_websocket(
        self, url: str, query: str, variables: dict[str, Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        address = url.replace("http://", "ws://")
        async with connect(
            address, subprotocols=[_PROTOCOL], compression=None, max_queue=None, open_timeout=_ANSWER_SECONDS
        ) as socket:
            await socket.send('{"type": "connection_init"}')
            payload = {"query": query, "variables": variables}
            await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
            while (message := json.loads(await socket.recv()))["type"] != "complete":
                if message["type"] == "next":
                    yield message["payload"]
                elif message["type"] == "error":
                    yield {"errors": message["payload"]}

    async def _over_sse(self, url: str, query: str, variables: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        timeout = httpx.Timeout(_ANSWER_SECONDS, read=None)
        body = {"query": query, "variables": variables}
        headers = {"Accept": "text/event-stream"}
        async with self._http.stream("POST", url, json=body, headers=headers, timeout=timeout) as answer:
            if "text/event-stream" not in answer.headers["Content-Type"]:
                yield json.loads(await answer.aread())
                return
            async for event, data in _events(answer.aiter_lines()):
                if event == "complete":
                    return
                if event == "next":
                    yield json.loads(data)
        raise EOFError("the stream ended without an end")

    def _check(self, body: dict[str, Any]) -> None:
        if not body.get("errors"):
            return
        codes = {error.get("extensions", {}).get("code") for error in body["errors"]}
        if codes <= _TRY_AGAIN:
            raise LossError(str(codes))
        self.refusals.append(json.dumps(body["errors"])[:1000])
        raise RefusedError(self.refusals[-1])


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, str]]:
    """Yield the events of a stream, each with its data."""
    event, data = "message", ""
    async for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            data += value
        elif not line:
            yield event, data
            event, data = "message", ""
