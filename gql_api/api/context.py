"""What a request needs: made once in the lifespan, handed to every resolver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.dataloader import DataLoader
from strawberry.types import Info as StrawberryInfo

from gql_api.aio.batching import BatchedReads
from gql_api.aio.tick import TickQueue
from gql_api.api.commands.bulk import Bulk
from gql_api.api.commands.control import Controller
from gql_api.api.commands.create import Creator
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.store.lists import ChildPage
from gql_api.api.store.tasks import TaskStore
from gql_api.api.subscriptions.executions import Executions
from gql_api.api.subscriptions.fanout import Fanout
from gql_api.api.subscriptions.sockets import OpenSocket
from gql_api.record.reads import TaskRecord


@dataclass(frozen=True)
class Services:
    """What lives as long as the application.

    ``tasks`` gathers reads by id that arrive together, from whichever requests, into one query. It keeps nothing.
    ``sockets`` are the open WebSockets.
    """

    store: TaskStore
    tasks: BatchedReads[TaskRecord | None]
    feed: TaskFeed
    creator: Creator
    controller: Controller
    bulk: Bulk
    executions: Executions
    turn: TickQueue
    sockets: set[OpenSocket]
    redis: Redis


@dataclass(frozen=True)
class Context:
    """What Strawberry hands to resolvers.

    The loaders gather what the tasks of one answer ask for into one query. ``request`` and ``response`` are there for
    Strawberry's own extensions; a shared execution is of no one request. ``fanout`` is those whom it tells.
    """

    services: Services
    fanout: Fanout | None = None
    request: Request | WebSocket | None = None
    response: Response | WebSocket | None = None

    # Uncached: on a socket a context lives as long as the connection, and tasks change.
    @cached_property
    def children(self) -> DataLoader[ChildPage, list[TaskRecord]]:
        """Reads pages of children."""
        return DataLoader(self.services.store.lists.child_pages, cache=False)

    @cached_property
    def child_counts(self) -> DataLoader[str, int]:
        """Counts children."""
        return DataLoader(self.services.store.lists.child_counts, cache=False)


Info: TypeAlias = StrawberryInfo[Context, None]


def context_of(request: Request | WebSocket, response: Response | WebSocket) -> Context:
    """Make the context of one request, from the services of the application that it came to."""
    services: Services = request.app.state.services
    return Context(services=services, request=request, response=response)
