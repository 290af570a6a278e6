"""Watches a task with Python's gql, as tests/js/watch.mjs does: python watch_with_gql.py URL TASK_ID [TOKEN_URL]."""

from __future__ import annotations

import asyncio
import json
import sys

import httpx
from gql import Client, gql
from gql.transport.exceptions import TransportClosed, TransportConnectionFailed
from gql.transport.websockets import WebsocketsTransport

WATCH = gql("""
subscription ($id: ID!) { taskUpdated(id: $id) { id revision status progress { current } result } }
""")


class _Transport(WebsocketsTransport):
    """A transport that fetches a new token for each connection."""

    token_url: str | None = None

    async def connect(self) -> None:
        """Connect."""
        if self.token_url is not None:
            async with httpx.AsyncClient() as client:
                self.init_payload = {"Authorization": f"Bearer {(await client.get(self.token_url)).text}"}
        await super().connect()


async def main(url: str, task_id: str, token_url: str | None = None) -> None:
    """Subscribe again after each loss of the connection, which gql makes anew by itself."""
    WATCH.variable_values = {"id": task_id}
    transport = _Transport(url.replace("http:", "ws:"))
    transport.token_url = token_url
    client = Client(transport=transport)
    session = await client.connect_async(reconnecting=True)  # type: ignore[no-untyped-call] # gql's
    while True:
        try:
            async for data in session.subscribe(WATCH):
                print(json.dumps(data["taskUpdated"]), flush=True)  # noqa: T201 - what it is for
            break
        except (TransportClosed, TransportConnectionFailed):
            await asyncio.sleep(0.1)
    print("complete", flush=True)  # noqa: T201 - the same
    await client.close_async()  # type: ignore[no-untyped-call] # gql's


asyncio.run(main(*sys.argv[1:]))
