"""A streamed HTTP answer: each result as it arrives, until the last one or until the client disconnects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gql_api.access.principal import ANONYMOUS, Principal
from gql_api.aio.background import cancelled
from gql_api.api.authentication.authenticator import Revocations, UnauthenticatedError
from gql_api.api.authentication.lifetime import TokenLifetime
from gql_api.api.execution.encoding import encode
from gql_api.api.execution.masking import internal_error
from gql_api.api.http.stream_formats import StreamFormat
from gql_api.api.subscriptions.executions import DrainedError

STREAMED = "gql_api.streamed"
"""The key in the scope of a request with a streamed answer, whose connection a stopping server may close."""

CONNECTION = "gql_api.connection"
"""The name in ``scope["extensions"]`` under which a server offers the transport of a request."""


class StreamedResponse(Response):
    """A response that sends results in a stream format, with heartbeats between them.

    The next result is requested when the server has taken the one before. The server's ``send`` waits for the client,
    so that a slow client delays its own results only.

    When the token of the request is not valid any more, no result is sent, and the stream ends as its format says.

    Args:
        results: the results of one operation, each as JSON. They are closed with the response.
        stream_format: the format to write them in.
        principal: the caller.
        revocations: the revocations of tokens, if tokens can be revoked.
    """

    def __init__(
        self,
        results: AsyncGenerator[bytes, None],
        stream_format: StreamFormat,
        principal: Principal = ANONYMOUS,
        revocations: Revocations | None = None,
    ) -> None:
        super().__init__(headers=stream_format.headers)
        del self.headers["content-length"]
        self._results = results
        self._format = stream_format
        # One chunk at a time: a heartbeat may fall due while a result is being sent.
        self._lock = asyncio.Lock()
        self._lifetime = TokenLifetime(principal, revocations, self._end_lifetime)
        self._sending: asyncio.Task[bool] | None = None
        # Why the token is not valid any more.
        self._refusal: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the results. A client that disconnects ends its operation at once."""
        scope[STREAMED] = True
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # Before the results: the token may expire first, and a refusal needs the opening too.
        await send({"type": "http.response.body", "body": self._format.opening, "more_body": True})
        sending = self._sending = asyncio.create_task(self._send_results(send))
        beating = asyncio.create_task(self._send_heartbeats(send))
        disconnecting = asyncio.create_task(_wait_for_disconnect(receive))
        self._lifetime.start()
        try:
            await asyncio.wait({sending, disconnecting}, return_when=asyncio.FIRST_COMPLETED)
            await cancelled({beating})
            if self._refusal is not None and not disconnecting.done():
                await self._refuse(scope, send, disconnecting)
                return
        finally:
            self._lifetime.stop()
            await cancelled({sending, beating, disconnecting})
        # When the process stops first the response stays incomplete, and the client resumes at another server.
        if not sending.cancelled() and sending.result():
            await send({"type": "http.response.body", "body": self._format.end, "more_body": False})

    async def _send_results(self, send: Send) -> bool:
        """Send the results, and return whether the operation has completed."""
        async with contextlib.aclosing(self._results) as results:
            try:
                async for result in results:
                    await self._send(send, self._format.format_result(result))
            except DrainedError:
                return False
            except Exception as error:  # noqa: BLE001 - it is logged, and the response has started
                await self._send(send, self._format.format_failure(encode([internal_error(error).formatted])))
        return True

    def _end_lifetime(self, reason: str) -> None:
        self._refusal = reason
        if self._sending is not None:
            self._sending.cancel()

    async def _refuse(self, scope: Scope, send: Send, disconnecting: asyncio.Task[None]) -> None:
        """End the stream of a client whose token is not valid any more."""
        connection: asyncio.WriteTransport | None = scope.get("extensions", {}).get(CONNECTION)
        if connection is not None and connection.get_write_buffer_size() > 0:
            connection.abort()  # unread results would be read from now on
            await disconnecting
            return
        errors = encode([UnauthenticatedError(f"{self._refusal}. The request needs a valid token").formatted])
        chunk = self._format.format_refusal(errors)
        await send({"type": "http.response.body", "body": chunk, "more_body": not self._format.ends_refused})
        if connection is not None and not self._format.ends_refused:
            connection.close()
            await disconnecting

    async def _send_heartbeats(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._format.heartbeat_seconds)
            await self._send(send, self._format.heartbeat)

    async def _send(self, send: Send, chunk: bytes) -> None:
        async with self._lock:
            if self._lifetime.is_over:
                await asyncio.Event().wait()  # the end of the lifetime, which is due, cancels the caller
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
