"""The ASGI application: ``uvicorn gql_api.app:app``, or ``create_app(settings)`` to embed or configure it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute

from gql_api.aio.background import background
from gql_api.aio.batching import BatchedReads
from gql_api.aio.tick import TickQueue
from gql_api.api.admission.trusted import TrustedDocuments, TrustedDocumentsError
from gql_api.api.audit.log import AuditLog
from gql_api.api.authentication.authenticator import Authenticator
from gql_api.api.authentication.configured import ConfiguredAuthentication
from gql_api.api.authentication.issued.tokens import IssuedTokens
from gql_api.api.commands.bulk import Bulk
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.control import Controller
from gql_api.api.commands.create import Creator
from gql_api.api.context import Context, Services
from gql_api.api.execution.documents import DocumentReader
from gql_api.api.guard.guard import Guard, internal_server_error, without_slash
from gql_api.api.guard.hosts import Hosts
from gql_api.api.guard.origins import Origins
from gql_api.api.http import rest
from gql_api.api.http.authentication import Authenticate
from gql_api.api.http.bodies import BoundBodies
from gql_api.api.http.health import alive, ready
from gql_api.api.http.metrics import metrics
from gql_api.api.http.short_path import ShortPath
from gql_api.api.http.view import GraphQLView
from gql_api.api.pages.files import board_documents
from gql_api.api.pages.serving import Pages
from gql_api.api.pubsub.task_feed import TaskFeed
from gql_api.api.quotas.quotas import open_quotas
from gql_api.api.schema.build import schema
from gql_api.api.schema.subscriptions import PERSONAL, SHARED
from gql_api.api.statistics.counting import Counting
from gql_api.api.statistics.reading import Statistics
from gql_api.api.store.tasks import TaskStore
from gql_api.api.subscriptions.backlog import BACKLOG
from gql_api.api.subscriptions.executions import Executions
from gql_api.dispatch import Dispatcher
from gql_api.settings import Settings, SettingsError
from gql_api.telemetry.middleware import CountRequests
from gql_api.telemetry.watchdog import Watchdog

_REDIS_CONNECTIONS = 32


def create_app(settings: Settings | None = None, authenticator: Authenticator | None = None) -> Starlette:
    """Build the application. Connections are opened by its lifespan and closed in reverse.

    Without authentication it answers on loopback only, unless the settings allow more: only the server knows where it
    listens. A parent application may have put a principal into the scope of a request.

    Args:
        settings: read from the environment by default.
        authenticator: decides who calls, in place of what the settings describe.

    Raises:
        SettingsError: a variable has a value that cannot work.
    """
    settings = settings or Settings.load()
    loopback_only = authenticator is None and not settings.may_be_reached_by_others
    documents = _documents(settings)
    authentication = ConfiguredAuthentication(settings, authenticator)
    pages = Pages(settings, has_own_authenticator=authenticator is not None)
    graphql = GraphQLView(settings, pages)
    origins = Origins(settings.allowed_origins)
    guard = Middleware(Guard, Hosts(settings.allowed_hosts), origins, loopback_only=loopback_only)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_services(settings, documents, authentication) as services:
            app.state.services = services
            yield

    app = Starlette(
        lifespan=lifespan,
        routes=[
            *pages.routes(),
            Route("/graphql", graphql),
            WebSocketRoute("/graphql", graphql),
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            *rest.ROUTES,
        ],
        middleware=[
            Middleware(CountRequests),
            guard,
            *origins.middleware(),
            Middleware(Authenticate, pages.options),
            Middleware(BoundBodies, settings),
            Middleware(ShortPath, settings),
        ],
        exception_handlers={**rest.EXCEPTION_HANDLERS, Exception: internal_server_error},
    )
    # Starlette builds the address of its redirect from the Host header.
    app.router.redirect_slashes = False
    app.router.default = without_slash(app.router)
    return app


@contextlib.asynccontextmanager
async def open_services(
    settings: Settings, documents: DocumentReader | None = None, authentication: ConfiguredAuthentication | None = None
) -> AsyncIterator[Services]:
    """Open the services. Neither MongoDB nor Redis has to be up; ``/readyz`` reports when they are.

    Args:
        settings: the settings.
        documents: the reader of the documents of clients.
        authentication: that of the settings by default.
    """
    BACKLOG.start(settings.unread_max_bytes)
    async with contextlib.AsyncExitStack() as stack:
        redis = _redis(settings)
        stack.push_async_callback(redis.aclose)
        store = TaskStore(settings)
        stack.push_async_callback(store.close)
        await stack.enter_async_context(background(store.indexes.create))
        feed = await stack.enter_async_context(TaskFeed(settings, store))
        dispatcher = Dispatcher(settings)
        stack.callback(dispatcher.close)
        changes = Changes(store, redis)
        quotas = await stack.enter_async_context(open_quotas(settings, store))
        creator = Creator(settings, store, dispatcher, changes, quotas)
        stack.push_async_callback(creator.close)
        documents = documents or _documents(settings)
        issued_tokens = await stack.enter_async_context(IssuedTokens.open(settings, store))
        authentication = authentication or ConfiguredAuthentication(settings)
        authenticator = await stack.enter_async_context(authentication.open(issued_tokens.verifiers))
        executions = Executions(
            schema,
            SHARED,
            lambda fanout, principal: Context(services, principal, fanout),
            PERSONAL,
            documents,
            settings.subscriptions_max,
            quotas.subscriptions,
        )
        services = Services(
            store=store,
            tasks=BatchedReads(store.whole),
            feed=feed,
            creator=creator,
            controller=Controller(settings, store, changes, creator),
            bulk=Bulk(store, changes, creator),
            executions=executions,
            tick_queue=TickQueue(),
            sockets=set(),
            redis=redis,
            audit=AuditLog(store, settings.audit_retention_days),
            statistics=Statistics(store, settings.query_timeout_seconds),
            documents=documents,
            quotas=quotas,
            issuer=issued_tokens.issuer,
            revocations=issued_tokens.revocations,
            authenticator=authenticator,
        )
        audit = services.audit
        prepare = audit.prepare if services.authenticator.is_required else audit.prepare_when_used
        counting = Counting(store, settings.statistics_retention_days)
        await stack.enter_async_context(background(prepare, counting.run))
        async with executions, Watchdog(settings.event_loop_block_seconds):
            yield services


def _redis(settings: Settings) -> Redis:
    timeout = settings.store_timeout_seconds
    # Calls wait for a connection: redis-py's other pool fails above its maximum, and their events would be lost.
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        max_connections=_REDIS_CONNECTIONS,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
    )
    return Redis.from_pool(pool)


def _documents(settings: Settings) -> DocumentReader:
    try:
        trusted = _trusted(settings)
        documents = DocumentReader(settings, trusted, hides_schema=settings.production)
        documents.check_trusted(schema._schema)  # noqa: SLF001 - as Strawberry's own integrations do
    except TrustedDocumentsError as error:
        raise SettingsError(f"TRUSTED_DOCUMENTS: {error}") from None
    return documents


def _trusted(settings: Settings) -> TrustedDocuments | None:
    if settings.trusted_documents is None:
        return None
    return TrustedDocuments.load(settings.trusted_documents, board_documents() if settings.dashboard else ())


def __getattr__(name: str) -> Any:
    """Build ``app`` from the environment when a server asks for it: importing ``create_app`` reads no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = Settings.load_or_exit()
    try:
        app = globals()["app"] = create_app(settings)
    except SettingsError as error:
        raise SystemExit(f"Error: {error}") from None
    return app
