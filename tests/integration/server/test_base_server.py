"""The stop of a server, with a connection that comes late."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest
from support import wait_until_async

from gql_api.server.http_protocol import HttpProtocol
from gql_api.server.metrics import MetricsServer
from gql_api.settings import Settings


async def test_a_connection_that_begins_after_the_others_were_closed_is_closed_too(settings: Settings) -> None:
    """The event loop may have accepted it before. The server of the metrics stops as that of the API does."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = MetricsServer(settings, lambda: pytest.fail("nothing is measured"), listener)
    server.start()

    async def has_started() -> bool:
        return server.started

    await wait_until_async(has_started)
    protocol = cast("type[HttpProtocol]", server.config.http_protocol_class)
    stopping = asyncio.create_task(server.stop())

    async def has_closed_the_others() -> bool:
        return listener.fileno() == -1

    await wait_until_async(has_closed_the_others)
    client, late = socket.socketpair()
    await asyncio.get_running_loop().connect_accepted_socket(
        lambda: protocol(server.config, server.server_state, {}), late
    )
    reader, writer = await asyncio.open_connection(sock=client)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await stopping
