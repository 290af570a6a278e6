"""``/metrics``, from which Prometheus scrapes the counters and gauges of the server."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
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
from gql_api.telemetry import counters, shared

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
    """Return the counters and gauges in the format of Prometheus, those of all processes of the server."""
    measure(services)
    unfinished = _Unfinished(await _count_unfinished(services.store.lists))
    return Response(shared.exposition(unfinished), media_type=CONTENT_TYPE_LATEST)


def measure(services: Services) -> None:
    """Set the gauges of this process, and let the other processes of the server read all its figures."""
    counters.SOCKETS.set(len(services.sockets))
    socket_operations = sum(socket.operation_count for socket in services.sockets)
    counters.SUBSCRIPTIONS.set(socket_operations + services.executions.streams)
    counters.EXECUTIONS.set(len(services.executions))
    counters.WATCHED_CONDITIONS.set(services.feed.lists.watched_conditions)
    counters.UNREAD.set(BACKLOG.size)
    counters.WATCHED.set(services.feed.watched)
    if shared.are_shared():
        counters.share_tallies()


class _Unfinished(Collector):
    """The numbers of unfinished tasks, which belong to no process: they are counted at each scrape."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield the numbers, for Prometheus."""
        family = GaugeMetricFamily(
            "gql_api_tasks_unfinished", "Tasks that have not ended, in the store.", labels=["status"]
        )
        for status, count in self._counts.items():
            family.add_metric([status], count)
        yield family


async def _count_unfinished(lists: TaskLists) -> dict[str, int]:
    """Count unfinished tasks by status, from the index. The result is empty while MongoDB is away."""
    try:
        counts = await lists.facet(
            compile_filter(TaskFilter(statuses=_OPEN)).query, EVERYTHING, FacetField.STATUS, len(_OPEN)
        )
    except (PyMongoError, ClientError) as error:
        logger.warning("MongoDB does not answer, unfinished tasks are not counted: %s", error)
        return {}
    return dict.fromkeys(_OPEN, 0) | {str(bucket.value): bucket.count for bucket in counts}
