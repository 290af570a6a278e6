"""Middleware that counts HTTP requests."""

from __future__ import annotations

import functools
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gql_api.telemetry import counters

# Clients choose paths and methods freely, and each new value would be a series for ever: all others count as "other".
_PATHS = frozenset({"/graphql", "/create-task", "/tasks", "/healthz", "/readyz", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TASK = "/task/"
# Finding a series by its labels takes longer than counting.
_requests = functools.cache(counters.REQUESTS.labels)
_request_seconds = functools.cache(counters.REQUEST_SECONDS.labels)


class CountRequests:
    """Middleware that counts HTTP requests by method, path and status, and the time until their answers begin."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it when its answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, path = time.perf_counter(), _path(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                _requests(method, path, message.get("status")).inc()
                _request_seconds(path).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counting_send)


def _path(scope: Scope) -> str:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    if path.startswith(_TASK):
        return "/task/{id}"
    return path if path in _PATHS else "other"
