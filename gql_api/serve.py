"""``gql-api serve``: uvicorn with the limits that an API open to clients needs."""

from __future__ import annotations

import uvicorn

from gql_api.app import app
from gql_api.uvicorn_http import UvicornHttp
from gql_api.uvicorn_socket import UvicornSocket

# A frame holds one operation. Without a limit a client makes the process hold what it likes.
_MAX_FRAME_BYTES = 64 * 1024
# A client whose machine is gone says nothing: two unanswered pings end its socket.
_PING_SECONDS = 20.0


def run(host: str, port: int, drain_seconds: int) -> None:
    """Serve until SIGTERM or SIGINT; open requests then have ``drain_seconds`` to end."""
    uvicorn.run(
        app,
        host=host,
        port=port,
        access_log=False,
        server_header=False,
        http=UvicornHttp,
        ws=UvicornSocket,
        ws_max_size=_MAX_FRAME_BYTES,
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PING_SECONDS,
        # A small compressed frame may unpack to a large one, and compressing costs more than it saves on events.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=drain_seconds,
    )
