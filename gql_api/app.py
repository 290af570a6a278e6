"""The ASGI application: ``uvicorn gql_api.app:app``, or ``create_app(settings)`` for one of your own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route, WebSocketRoute

from gql_api import rest
from gql_api.background import background
from gql_api.bulk import Bulk
from gql_api.changes import Changes
from gql_api.context import Context, Services
from gql_api.control import Controller
from gql_api.creation import Creator
from gql_api.executions import Executions
from gql_api.feed import Feed
from gql_api.gathering import GatheredReads
from gql_api.health import alive, ready
from gql_api.metrics import CountRequests, metrics
from gql_api.outgoing import Turn
from gql_api.schema import schema
from gql_api.server import GraphQLServer
from gql_api.store import TaskStore
from gql_api.subscriptions import PERSONAL, SHARED
from jobs.dispatch import Dispatcher
from jobs.settings import Settings


def create_app(settings: Settings | None = None) -> Starlette:
    """Build the application. Connections are opened by its lifespan and closed in reverse.

    Args:
        settings: read from the environment when left out.

    Raises:
        SettingsError: a variable has a value that cannot work.
    """
    settings = settings or Settings.load()
    graphql = GraphQLServer()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_services(settings) as services:
            app.state.services = services
            yield

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/", _to_graphiql),
            Route("/graphql", graphql),
            WebSocketRoute("/graphql", graphql),
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            *rest.ROUTES,
        ],
        middleware=[Middleware(CountRequests)],
        exception_handlers=rest.EXCEPTION_HANDLERS,
    )


@contextlib.asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open what requests need. Neither MongoDB nor Redis has to be up: ``/readyz`` tells when they are."""
    async with contextlib.AsyncExitStack() as stack:
        timeout = settings.store_timeout_seconds
        redis = Redis.from_url(settings.redis_url, socket_timeout=timeout, socket_connect_timeout=timeout)
        stack.push_async_callback(redis.aclose)
        store = TaskStore(settings)
        stack.push_async_callback(store.close)
        await stack.enter_async_context(background(store.indexes.create))
        feed = await stack.enter_async_context(Feed(settings, store))
        dispatcher = Dispatcher(settings)
        stack.callback(dispatcher.close)
        changes = Changes(store, redis)
        creator = Creator(settings, store, dispatcher, changes)
        stack.push_async_callback(creator.close)
        executions = Executions(schema, SHARED, lambda audience: Context(services, audience), PERSONAL)
        services = Services(
            store=store,
            tasks=GatheredReads(store.by_ids),
            feed=feed,
            creator=creator,
            controller=Controller(settings, store, changes, creator),
            bulk=Bulk(store, changes, creator),
            executions=executions,
            turn=Turn(),
            sockets=set(),
            redis=redis,
        )
        async with executions:
            yield services


def _to_graphiql(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/graphql")


app = create_app()
