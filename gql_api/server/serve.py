"""``gql-api serve``: uvicorn with the limits that an API open to clients needs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys

import uvicorn
from starlette.applications import Starlette

from gql_api.api.context import Services
from gql_api.app import create_app
from gql_api.server import files, metrics
from gql_api.server.http_protocol import with_limits
from gql_api.server.request_log import LogRequests, log_config
from gql_api.server.websocket_protocol import WebSocketProtocol
from gql_api.settings import Settings

# A client whose machine is gone closes nothing: an unanswered ping ends its socket.
_PING_SECONDS = 20.0
# Python's own thresholds are for small programs: here the collector would traverse all connections again and again.
# The youngest generation has to fit in a processor's cache: with 50,000 objects each of them takes twice as long.
_GC_THRESHOLDS = (5_000, 200, 100)
_TICKS_PER_CHECK = 10


class _Server(uvicorn.Server):
    def __init__(self, app: Starlette, config: uvicorn.Config, metrics_server: metrics.MetricsServer | None) -> None:
        super().__init__(config)
        self._app = app
        self._metrics = metrics_server

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Before anybody waits for an answer: it takes a tenth of a second.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        await super().startup(sockets)
        asyncio.get_running_loop().set_exception_handler(files.handle_exception)
        if self._metrics is not None:
            self._metrics.start()

    async def on_tick(self, counter: int) -> bool:
        """Check once a second that there are file descriptors left; uvicorn calls this ten times a second."""
        if counter % _TICKS_PER_CHECK == 0:
            files.check()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        services: Services = self._app.state.services
        services.executions.drain()
        stopping = [] if self._metrics is None else [self._metrics.stop()]
        await asyncio.gather(super().shutdown(sockets), *stopping)


def run(
    settings: Settings,
    host: str,
    port: int,
    drain_seconds: int,
    log_level: str = "info",
    root_path: str = "",
    forwarded_allow_ips: str | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; open requests then have ``drain_seconds`` to finish.

    Args:
        settings: the settings, as :func:`gql_api.server.exposure.settings_for` returns them.
        host: the address to listen on.
        port: the port.
        drain_seconds: the time that open requests have to finish.
        log_level: the name of the lowest level that is logged.
        root_path: the path below which a proxy publishes the API, and which it removes from requests.
        forwarded_allow_ips: the addresses of proxies whose X-Forwarded headers are trusted, separated by commas.

    Raises:
        SettingsError: a setting cannot work.
    """
    files.raise_limit()
    app = create_app(settings)
    listener = metrics.listen(settings)
    server = _Server(
        app,
        uvicorn.Config(
            LogRequests(app),
            host=host,
            port=port,
            root_path=root_path,
            forwarded_allow_ips=forwarded_allow_ips,
            access_log=False,
            log_config=log_config(log_level),
            server_header=False,
            http=with_limits(settings, files.max_connections()),
            timeout_keep_alive=settings.keep_alive_seconds,
            ws=WebSocketProtocol,
            ws_max_size=settings.frame_max_bytes,
            ws_ping_interval=_PING_SECONDS,
            ws_ping_timeout=_PING_SECONDS,
            # A small compressed frame may expand to a large one, and compression costs more than it saves on events.
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=drain_seconds,
        ),
        None if listener is None else metrics.MetricsServer(settings, lambda: app.state.services, listener),
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn has shut down in order, then raises it again
        server.run()
    if not server.started:
        sys.exit(1)
