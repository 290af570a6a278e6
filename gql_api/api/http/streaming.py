"""A streamed HTTP answer: each result as it arrives, until the last one or until the client disconnects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gql_api.aio.background import cancelled
from gql_api.api.execution.encoding import encode
from gql_api.api.execution.masking import internal_error
from gql_api.api.http.stream_formats import StreamFormat
from gql_api.api.subscriptions.executions import DrainedError

STREAMED = "gql_api.streamed"
"""The key in the scope of a request with a streamed answer, whose connection a stopping server may close."""


class StreamedResponse(Response):
    """A response that sends results in a stream format, with heartbeats between them.

    The next result is requested when the server has taken the one before. The server's ``send`` waits for the client,
    so that a slow client delays its own results only.

    Args:
        results: the results of one operation, each as JSON. They are closed with the response.
        stream_format: the format to write them in.
    """

    def __init__(self, results: AsyncGenerator[bytes, None], stream_format: StreamFormat) -> None:
        super().__init__(headers=stream_format.headers)
        del self.headers["content-length"]
        self._results = results
        self._format = stream_format
        # One chunk at a time: a heartbeat may fall due while a result is being sent.
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the results. A client that disconnects ends its operation at once."""
        scope[STREAMED] = True
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send_results(send))
        beating = asyncio.create_task(self._send_heartbeats(send))
        disconnecting = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            await asyncio.wait({sending, disconnecting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancelled({sending, beating, disconnecting})
        # When the process stops first the response stays incomplete, and the client resumes at another server.
        if not sending.cancelled() and sending.result():
            await send({"type": "http.response.body", "body": self._format.end, "more_body": False})

    async def _send_results(self, send: Send) -> bool:
        """Send the results, and return whether the operation has completed."""
        await self._send(send, self._format.opening)
        async with contextlib.aclosing(self._results) as results:
            try:
                async for result in results:
                    await self._send(send, self._format.format_result(result))
            except DrainedError:
                return False
            except Exception as error:  # noqa: BLE001 - it is logged, and the response has started
                await self._send(send, self._format.format_failure(encode([internal_error(error).formatted])))
        return True

    async def _send_heartbeats(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._format.heartbeat_seconds)
            await self._send(send, self._format.heartbeat)

    async def _send(self, send: Send, chunk: bytes) -> None:
        async with self._lock:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
