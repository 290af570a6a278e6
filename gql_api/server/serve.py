"""``gql-api serve``: uvicorn with the limits that an API open to clients needs, in one process or in several."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging.config
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE

from gql_api.api.context import Services
from gql_api.api.http.metrics import measure
from gql_api.app import create_app
from gql_api.server import files, listeners, metrics
from gql_api.server.base_server import BaseServer
from gql_api.server.http_protocol import with_limits
from gql_api.server.request_log import LogRequests, log_config
from gql_api.server.supervisor import Supervisor
from gql_api.server.websocket_protocol import WebSocketProtocol
from gql_api.settings import Settings, SettingsError
from gql_api.telemetry import shared

logger = logging.getLogger(__name__)

# A client whose machine is gone closes nothing: an unanswered ping ends its socket.
_PING_SECONDS = 20.0
# Python's own thresholds are for small programs: here the collector would traverse all connections again and again.
# The youngest generation has to fit in a processor's cache: with 50,000 objects each of them takes twice as long.
_GC_THRESHOLDS = (5_000, 200, 100)
_TICKS_PER_CHECK = 10


class Options(NamedTuple):
    """The options of ``gql-api serve``.

    Attributes:
        host: the address to listen on.
        port: the port.
        workers: the number of processes.
        drain_seconds: the time that open requests have to finish after SIGTERM.
        log_level: the name of the lowest level that is logged.
        root_path: the path below which a proxy publishes the API, and which it removes from requests.
        forwarded_allow_ips: the addresses of proxies whose X-Forwarded headers are trusted, separated by commas.
    """

    host: str
    port: int
    workers: int
    drain_seconds: int
    log_level: str = "info"
    root_path: str = ""
    forwarded_allow_ips: str | None = None


@dataclass(frozen=True)
class _Membership:
    """A process as one of several: its listening sockets, and what binds it to their supervisor."""

    listeners: listeners.Listeners
    supervisor: int
    announce_start: Callable[[], None]


class _Server(BaseServer):
    def __init__(
        self,
        app: Starlette,
        config: uvicorn.Config,
        metrics_server: metrics.MetricsServer | None,
        membership: _Membership | None,
    ) -> None:
        super().__init__(config)
        self._app = app
        self._metrics = metrics_server
        self._membership = membership

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Before anybody waits for an answer: it takes a tenth of a second.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        await super().startup(sockets)
        asyncio.get_running_loop().set_exception_handler(files.handle_exception)
        if self._metrics is not None:
            self._metrics.start()
        if self._membership is not None:
            self._membership.announce_start()

    async def on_tick(self, counter: int) -> bool:
        """Check once a second that there are file descriptors left; uvicorn calls this ten times a second."""
        if counter % _TICKS_PER_CHECK == 0:
            files.check()
            if self._membership is not None:
                measure(self._app.state.services)
                # Without its supervisor, nothing would stop or replace this process.
                self.should_exit |= os.getppid() != self._membership.supervisor
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        services: Services = self._app.state.services
        services.executions.drain()
        stopping = [] if self._metrics is None else [self._metrics.stop()]
        await asyncio.gather(super().shutdown(sockets), *stopping)


def run(settings: Settings, options: Options) -> signal.Signals | None:
    """Serve until SIGTERM or SIGINT; open requests then have some time to finish.

    Several processes share figures only if this module was imported by :func:`gql_api.telemetry.shared.shared_figures`'
    block. For them the signal is returned, with which the caller ends this process when it has cleaned up.

    Args:
        settings: the settings, as :func:`gql_api.server.exposure.settings_for` returns them.
        options: the options.

    Raises:
        SettingsError: a setting cannot work.
    """
    if options.workers == 1:
        _serve(settings, options, metrics.listen(settings), None)
        return None
    return _supervise(settings, options)


def _supervise(settings: Settings, options: Options) -> signal.Signals:
    """Serve in several processes until a signal has stopped them, and return it."""
    logging.config.dictConfig(log_config(options.log_level, has_process=True))
    try:
        opened = listeners.listen(options.host, options.port, options.workers)
    except OSError as error:
        logger.critical("Cannot listen on %s, port %d: %s", options.host, options.port, error.strerror)
        sys.exit(STARTUP_FAILURE)
    metrics_listener = metrics.listen(settings)
    supervisor = os.getpid()

    def serve(number: int, announce_start: Callable[[], None]) -> None:
        shared.enter(number)
        listeners.close(*(others for each, others in enumerate(opened) if each != number))
        try:
            _serve(settings, options, metrics_listener, _Membership(opened[number], supervisor, announce_start))
        except SettingsError as error:
            sys.exit(f"Error: {error}")

    def release() -> None:
        """Close the sockets of the supervisor, so that the port is closed when all processes have closed it."""
        listeners.close(*opened)
        if metrics_listener is not None:
            metrics_listener.close()

    # The pages with what is imported by now stay shared with the processes: the collector would write to them.
    gc.collect()
    gc.freeze()
    return Supervisor(serve, options.workers, on_end=shared.forget, on_stop=release).run()


def _serve(
    settings: Settings, options: Options, metrics_listener: socket.socket | None, membership: _Membership | None
) -> None:
    """Serve in this process."""
    files.raise_limit()
    app = create_app(settings)
    server = _Server(
        app,
        uvicorn.Config(
            LogRequests(app),
            host=options.host,
            port=options.port,
            root_path=options.root_path,
            forwarded_allow_ips=options.forwarded_allow_ips,
            access_log=False,
            log_config=log_config(options.log_level, has_process=membership is not None),
            server_header=False,
            http=with_limits(settings, files.max_connections()),
            timeout_keep_alive=settings.keep_alive_seconds,
            ws=WebSocketProtocol,
            ws_max_size=settings.frame_max_bytes,
            ws_ping_interval=_PING_SECONDS,
            ws_ping_timeout=_PING_SECONDS,
            # A small compressed frame may expand to a large one, and compression costs more than it saves on events.
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=options.drain_seconds,
        ),
        None
        if metrics_listener is None
        else metrics.MetricsServer(settings, lambda: app.state.services, metrics_listener),
        membership,
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn has shut down in order, then raises it again
        server.run(None if membership is None else membership.listeners)
    if not server.started:
        sys.exit(1)
