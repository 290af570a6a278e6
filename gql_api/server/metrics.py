"""A port of its own for ``/metrics``, for scrapers that have no token: a second uvicorn server in the same process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gql_api.api.context import Services
from gql_api.api.guard.guard import Guard, internal_server_error
from gql_api.api.guard.hosts import Hosts
from gql_api.api.guard.origins import Origins
from gql_api.api.http.metrics import metrics_of
from gql_api.server.base_server import BaseServer
from gql_api.server.http_protocol import with_limits
from gql_api.settings import Settings, SettingsError

_MAX_CONNECTIONS = 20
_DRAIN_SECONDS = 1


def metrics_app(settings: Settings, services: Callable[[], Services]) -> Starlette:
    """Build the application that serves ``/metrics``, without a token, and nothing else.

    Args:
        settings: the settings of the API, whose hosts are allowed here too.
        services: returns the services that are measured.
    """

    async def metrics(_request: Request) -> Response:
        return await metrics_of(services())

    return Starlette(
        routes=[Route("/metrics", metrics)],
        middleware=[Middleware(Guard, Hosts(settings.allowed_hosts), Origins(()))],
        exception_handlers={Exception: internal_server_error},
    )


class MetricsServer(BaseServer):
    """A server of the metrics beside the API's own, which handles the signals of the process for both.

    Args:
        settings: the settings of the API.
        services: returns the services that are measured.
        listener: the socket that :func:`listen` has opened.
    """

    def __init__(self, settings: Settings, services: Callable[[], Services], listener: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                metrics_app(settings, services),
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                http=with_limits(settings, _MAX_CONNECTIONS),
                ws="none",
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        self._listener = listener
        self._serving: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the server of the API."""
        yield

    def start(self) -> None:
        """Begin to serve."""
        self._serving = asyncio.create_task(self.serve([self._listener]))

    async def stop(self) -> None:
        """End the open requests, and close the port."""
        self.should_exit = True
        if self._serving is not None:
            await self._serving


def listen(settings: Settings) -> socket.socket | None:
    """Open the port of the metrics, if there is to be one.

    Raises:
        SettingsError: the port cannot be opened.
    """
    host, port = settings.metrics_host, settings.metrics_port
    if not port:
        return None
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(f"METRICS_PORT: cannot listen on {host}, port {port}: {error.strerror}") from None
