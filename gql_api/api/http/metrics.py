"""``/metrics``, from which Prometheus scrapes the counters and gauges of the process."""

from __future__ import annotations

import logging

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pymongo.errors import PyMongoError
from starlette.requests import Request
from starlette.responses import Response

from gql_api.access.principal import ANONYMOUS, NOBODY, Scope
from gql_api.access.visibility import EVERYTHING
from gql_api.api.admission.scopes import ForbiddenError
from gql_api.api.context import PRINCIPAL, Services
from gql_api.api.errors import ClientError
from gql_api.api.execution.encoding import encode
from gql_api.api.store.lists import TaskLists
from gql_api.api.subscriptions.backlog import BACKLOG
from gql_api.query.compile import compile_filter
from gql_api.query.facets import FacetField
from gql_api.query.filter import TaskFilter
from gql_api.record.fields import FINAL, Status
from gql_api.telemetry import counters

logger = logging.getLogger(__name__)

_FORBIDDEN = 403
_OPEN = sorted(status for status in Status if status not in FINAL)


async def metrics(request: Request) -> Response:
    """Return the counters and gauges of the process to a caller with the scope OPERATE."""
    services: Services = request.app.state.services
    # With authentication, a request that nobody has authenticated must not get through.
    principal = request.scope.get(PRINCIPAL, NOBODY if services.authenticator.is_required else ANONYMOUS)
    if not principal.has(Scope.OPERATE):
        error = ForbiddenError(request.url.path, Scope.OPERATE)
        return Response(encode({"errors": [error.formatted]}), _FORBIDDEN, media_type="application/json")
    return await metrics_of(services)


async def metrics_of(services: Services) -> Response:
    """Return the counters and gauges of the process in the format of Prometheus."""
    counters.SOCKETS.set(len(services.sockets))
    socket_operations = sum(socket.operation_count for socket in services.sockets)
    counters.SUBSCRIPTIONS.set(socket_operations + services.executions.streams)
    counters.EXECUTIONS.set(len(services.executions))
    counters.WATCHED_CONDITIONS.set(services.feed.lists.watched_conditions)
    counters.UNREAD.set(BACKLOG.size)
    counters.WATCHED.set(services.feed.watched)
    await _count_unfinished(services.store.lists)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _count_unfinished(lists: TaskLists) -> None:
    """Count unfinished tasks by status, from the index.

    While MongoDB is away the answer has no figures of tasks, and all others.
    """
    counters.TASKS_UNFINISHED.clear()
    try:
        counts = await lists.facet(
            compile_filter(TaskFilter(statuses=_OPEN)).query, EVERYTHING, FacetField.STATUS, len(_OPEN)
        )
    except (PyMongoError, ClientError) as error:
        logger.warning("MongoDB does not answer, unfinished tasks are not counted: %s", error)
        return
    for status in _OPEN:
        counters.TASKS_UNFINISHED.labels(status).set(0)
    for bucket in counts:
        counters.TASKS_UNFINISHED.labels(bucket.value).set(bucket.count)
