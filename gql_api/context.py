"""What a request needs: made once in the lifespan, handed to every resolver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.dataloader import DataLoader
from strawberry.types import Info as StrawberryInfo

from gql_api.bulk import Bulk
from gql_api.control import Controller
from gql_api.creation import Creator
from gql_api.feed import Feed
from gql_api.lists import ChildPage
from gql_api.store import TaskStore
from jobs.record.reads import TaskRecord


@dataclass(frozen=True)
class Services:
    """What lives as long as the application. ``tasks`` gathers reads by id that arrive together into one query."""

    store: TaskStore
    tasks: DataLoader[str, TaskRecord | None]
    feed: Feed
    creator: Creator
    controller: Controller
    bulk: Bulk
    redis: Redis


@dataclass(frozen=True)
class Context:
    """What Strawberry hands to resolvers.

    The loaders gather what the tasks of one answer ask for into one query. ``request`` and ``response`` are there for
    Strawberry's own extensions.
    """

    services: Services
    children: DataLoader[ChildPage, list[TaskRecord]]
    child_counts: DataLoader[str, int]
    request: Request | WebSocket
    response: Response | WebSocket


Info: TypeAlias = StrawberryInfo[Context, None]


def context_of(request: Request | WebSocket, response: Response | WebSocket) -> Context:
    """Make the context of one request, from the services of the application that it came to."""
    services: Services = request.app.state.services
    lists = services.store.lists
    # Uncached: on a socket this lives as long as the connection, and tasks change.
    return Context(
        services=services,
        children=DataLoader(lists.child_pages, cache=False),
        child_counts=DataLoader(lists.child_counts, cache=False),
        request=request,
        response=response,
    )
