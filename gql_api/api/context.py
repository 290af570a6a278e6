"""The services of an application, and the context in which a resolver reaches them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from redis.asyncio import Redis
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.dataloader import DataLoader
from strawberry.types import Info as StrawberryInfo

from gql_api.access.principal import Principal
from gql_api.access.visibility import Visibility
from gql_api.aio.batching import BatchedReads
from gql_api.aio.tick import TickQueue
from gql_api.api.audit.log import AuditLog
from gql_api.api.authentication.authenticator import Authenticator, NoAuthentication, Revocations
from gql_api.api.authentication.issued.issuing import TokenIssuer
from gql_api.api.commands.bulk import Bulk
from gql_api.api.commands.control import Controller
from gql_api.api.commands.create import Creator
from gql_api.api.errors import ApiError
from gql_api.api.execution.documents import DEFAULT_READER, DocumentReader
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.quotas.quotas import NO_QUOTAS, Quotas
from gql_api.api.statistics.reading import Statistics
from gql_api.api.store.committed import VisibleTask
from gql_api.api.store.definitions import DefinitionRead
from gql_api.api.store.lists import ChildCount, ChildPage, TaskLists
from gql_api.api.store.tasks import TaskStore
from gql_api.api.subscriptions.executions import Executions
from gql_api.api.subscriptions.fanout import Fanout
from gql_api.api.subscriptions.sockets import OpenSocket
from gql_api.record.reads import TaskRecord
from gql_api.registry.definitions import TaskDefinition


@dataclass(frozen=True)
class Services:
    """The objects that live as long as the application.

    ``tasks`` reads whole tasks by id; reads that arrive together, from any requests, become one query. It caches
    nothing. ``sockets`` are the open WebSockets.
    """

    store: TaskStore
    tasks: BatchedReads[VisibleTask, TaskRecord | None]
    feed: TaskFeed
    creator: Creator
    controller: Controller
    bulk: Bulk
    executions: Executions
    tick_queue: TickQueue
    sockets: set[OpenSocket]
    redis: Redis
    audit: AuditLog
    statistics: Statistics
    issuer: TokenIssuer
    documents: DocumentReader = DEFAULT_READER
    quotas: Quotas = NO_QUOTAS
    authenticator: Authenticator = field(default_factory=NoAuthentication)
    revocations: Revocations | None = None


@dataclass(frozen=True)
class Context:
    """The ``info.context`` of resolvers.

    The loaders read what the tasks of one answer need by one query. Strawberry's own extensions use ``request`` and
    ``response``; a shared execution belongs to no single request and has neither. ``fanout`` holds the subscribers of
    a shared execution.
    """

    services: Services
    principal: Principal
    fanout: Fanout | None = None
    request: HTTPConnection | None = None
    response: Response | WebSocket | None = None

    @property
    def store(self) -> TaskStore:
        """The MongoDB of the API."""
        return self.services.store

    @property
    def lists(self) -> TaskLists:
        """The reads of pages, counts and facets."""
        return self.services.store.lists

    @property
    def visibility(self) -> Visibility:
        """The tasks that the caller may see."""
        return self.principal.visibility

    @property
    def documents(self) -> DocumentReader:
        """The documents of clients."""
        return self.services.documents

    @property
    def creator(self) -> Creator:
        """The command that creates tasks."""
        return self.services.creator

    @property
    def controller(self) -> Controller:
        """The commands on one task."""
        return self.services.controller

    @property
    def bulk(self) -> Bulk:
        """The commands on all tasks that match a filter."""
        return self.services.bulk

    # Uncached: on a socket a context lives as long as the connection, and tasks change.
    @cached_property
    def children(self) -> DataLoader[ChildPage, list[TaskRecord]]:
        """The reads of pages of children."""
        return DataLoader(self.lists.child_pages, cache=False)

    @cached_property
    def child_counts(self) -> DataLoader[ChildCount, int]:
        """The numbers of visible children."""
        return DataLoader(self.lists.child_counts, cache=False)

    @cached_property
    def definitions(self) -> DataLoader[DefinitionRead, TaskDefinition | None]:
        """The reads of task definitions."""
        return DataLoader(lambda reads: self.store.definition_reads.read(reads, self.visibility), cache=False)


PRINCIPAL = "gql_api.principal"
"""The key in the scope of a request for its principal."""

Info: TypeAlias = StrawberryInfo[Context, None]


class NoPrincipalError(ApiError):
    """The request has no principal. A default principal would let everybody in."""


def context_of(request: Request | WebSocket, response: Response | WebSocket | None = None) -> Context:
    """Create the context of one request, with the services of the application that received it.

    Raises:
        NoPrincipalError: the scope has no principal, which is a fault of the application.
    """
    services: Services = request.app.state.services
    principal = request.scope.get(PRINCIPAL)
    if not isinstance(principal, Principal):
        raise NoPrincipalError
    return Context(services, principal, request=request, response=response)
