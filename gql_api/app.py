"""The ASGI application: ``uvicorn gql_api.app:app``, or ``create_app(settings)`` to embed or configure it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route, WebSocketRoute

from gql_api.aio.background import background
from gql_api.aio.batching import BatchedReads
from gql_api.aio.tick import TickQueue
from gql_api.api.commands.bulk import Bulk
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.control import Controller
from gql_api.api.commands.create import Creator
from gql_api.api.context import Context, Services
from gql_api.api.http import rest
from gql_api.api.http.bodies import BoundBodies
from gql_api.api.http.health import alive, ready
from gql_api.api.http.metrics import metrics
from gql_api.api.http.view import GraphQLView
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.schema.build import schema
from gql_api.api.schema.subscriptions import PERSONAL, SHARED
from gql_api.api.store.tasks import TaskStore
from gql_api.api.subscriptions.backlog import BACKLOG
from gql_api.api.subscriptions.executions import Executions
from gql_api.dispatch import Dispatcher
from gql_api.settings import Settings
from gql_api.telemetry.middleware import CountRequests


def create_app(settings: Settings | None = None) -> Starlette:
    """Build the application. Connections are opened by its lifespan and closed in reverse.

    Args:
        settings: read from the environment by default.

    Raises:
        SettingsError: a variable has a value that cannot work.
    """
    settings = settings or Settings.load()
    graphql = GraphQLView(settings)

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
        middleware=[Middleware(CountRequests), Middleware(BoundBodies, settings)],
        exception_handlers=rest.EXCEPTION_HANDLERS,
    )


@contextlib.asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open the services. Neither MongoDB nor Redis has to be up; ``/readyz`` reports when they are."""
    BACKLOG.start(settings.unread_max_bytes)
    async with contextlib.AsyncExitStack() as stack:
        timeout = settings.store_timeout_seconds
        redis = Redis.from_url(settings.redis_url, socket_timeout=timeout, socket_connect_timeout=timeout)
        stack.push_async_callback(redis.aclose)
        store = TaskStore(settings)
        stack.push_async_callback(store.close)
        await stack.enter_async_context(background(store.indexes.create))
        feed = await stack.enter_async_context(TaskFeed(settings, store))
        dispatcher = Dispatcher(settings)
        stack.callback(dispatcher.close)
        changes = Changes(store, redis)
        creator = Creator(settings, store, dispatcher, changes)
        stack.push_async_callback(creator.close)
        subscriptions = settings.subscriptions_max
        executions = Executions(schema, SHARED, lambda fanout: Context(services, fanout), PERSONAL, subscriptions)
        services = Services(
            store=store,
            tasks=BatchedReads(store.by_ids),
            feed=feed,
            creator=creator,
            controller=Controller(settings, store, changes, creator),
            bulk=Bulk(store, changes, creator),
            executions=executions,
            tick_queue=TickQueue(),
            sockets=set(),
            redis=redis,
        )
        async with executions:
            yield services


def _to_graphiql(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/graphql")


def __getattr__(name: str) -> Any:
    """Build ``app`` from the environment when a server asks for it: importing ``create_app`` reads no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = globals()["app"] = create_app(Settings.load_or_exit())
    return app
