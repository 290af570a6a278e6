"""Watches a task with Python's gql, in the way of tests/js/watch.mjs: python watch_with_gql.py URL TASK_ID."""

from __future__ import annotations

import asyncio
import json
import sys

from gql import Client, gql
from gql.transport.exceptions import TransportClosed, TransportConnectionFailed
from gql.transport.websockets import WebsocketsTransport

WATCH = gql("""
subscription ($id: ID!) { taskUpdated(id: $id) { id revision status progress { current } result } }
""")


async def main(url: str, task_id: str) -> None:
    """Subscribe again after each loss of the connection, which gql makes anew by itself."""
    WATCH.variable_values = {"id": task_id}
    client = Client(transport=WebsocketsTransport(url.replace("http:", "ws:")))
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
