"""An HTTP answer that goes on: each result as it comes, until the last one or until the client is gone."""

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

# In the scope of a request whose answer goes on: the server may end the connection, for it does not end by itself.
ENDLESS = "gql_api.endless"


class StreamedResponse(Response):
    """Passes results on in a format, with signs of life between them.

    Each result is asked for when the one before has been taken by the server, whose ``send`` waits for the client: who
    reads slowly holds up its own results only.

    Args:
        results: the results of one operation, each as JSON. They are closed with the answer.
        how: the format.
    """

    def __init__(self, results: AsyncGenerator[bytes, None], how: StreamFormat) -> None:
        super().__init__(headers=how.headers)
        del self.headers["content-length"]
        self._results = results
        self._how = how
        # One chunk at a time: a sign of life may fall due while a result is on its way.
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. A client that goes away ends its operation at once."""
        scope[ENDLESS] = True
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        passing = asyncio.create_task(self._pass_on(send))
        beating = asyncio.create_task(self._beat(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancelled({passing, beating, leaving})
        # Unfinished is what the answer stays when the process stops first: the client resumes elsewhere.
        if not passing.cancelled() and passing.result():
            await send({"type": "http.response.body", "body": self._how.end, "more_body": False})

    async def _pass_on(self, send: Send) -> bool:
        """Write the results; tell whether the operation has come to its end."""
        await self._write(send, self._how.opening)
        async with contextlib.aclosing(self._results) as results:
            try:
                async for result in results:
                    await self._write(send, self._how.of_result(result))
            except DrainedError:
                return False
            except Exception as error:  # noqa: BLE001 - it is logged, and the answer has begun
                await self._write(send, self._how.of_failure(encode([internal_error(error).formatted])))
        return True

    async def _beat(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._how.beat_seconds)
            await self._write(send, self._how.beat)

    async def _write(self, send: Send, chunk: bytes) -> None:
        async with self._turn:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
