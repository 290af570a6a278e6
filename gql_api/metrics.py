"""``/metrics``, where Prometheus reads what the process counts, and the counting of HTTP requests."""

from __future__ import annotations

import logging
import time

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pymongo.errors import PyMongoError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gql_api import counters
from gql_api.context import Services
from gql_api.errors import ClientError
from jobs.conditions import TaskFilter
from jobs.filters import read
from jobs.record.facets import FacetField
from jobs.record.fields import FINAL, Status

logger = logging.getLogger(__name__)

# Paths and methods are a client's to choose: each other one would be a series for ever.
_PATHS = frozenset({"/graphql", "/create-task", "/tasks", "/healthz", "/readyz", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TASK = "/task/"
_OPEN = sorted(status for status in Status if status not in FINAL)


class CountRequests:
    """Middleware that counts HTTP requests by method, path and status, and the time until their answers begin."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, path = time.perf_counter(), _path(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                counters.REQUESTS.labels(method, path, message.get("status")).inc()
                counters.REQUEST_SECONDS.labels(path).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counting_send)


async def metrics(request: Request) -> Response:
    """Tell what the process has counted, in the format of Prometheus."""
    services: Services = request.app.state.services
    counters.SOCKETS.set(len(services.sockets))
    counters.SUBSCRIPTIONS.set(sum(map(len, services.sockets)) + services.executions.streams)
    counters.EXECUTIONS.set(len(services.executions))
    counters.WATCHED.set(services.feed.watched)
    await _count_unfinished(services)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _count_unfinished(services: Services) -> None:
    """Count by status from the index. While MongoDB is away nothing is told of tasks, and the rest all the same."""
    counters.TASKS_UNFINISHED.clear()
    try:
        counts = await services.store.lists.facet(read(TaskFilter(statuses=_OPEN)).query, FacetField.STATUS, len(_OPEN))
    except (PyMongoError, ClientError) as error:
        logger.warning("MongoDB does not answer, unfinished tasks are not counted: %s", error)
        return
    for status in _OPEN:
        counters.TASKS_UNFINISHED.labels(status).set(0)
    for bucket in counts:
        counters.TASKS_UNFINISHED.labels(bucket.value).set(bucket.count)


def _path(scope: Scope) -> str:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    if path.startswith(_TASK):
        return "/task/{id}"
    return path if path in _PATHS else "other"
