"""The API with quotas, and clients of it that have been authenticated."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from front import Front
from opened import Client, Open
from starlette.types import ASGIApp, Receive, Scope, Send

from gql_api.access.principal import Principal
from gql_api.api.context import PRINCIPAL
from gql_api.app import create_app, open_services
from gql_api.settings import Settings


@pytest.fixture
def opened(
    settings: Settings,
    prepared: str,  # noqa: ARG001 - the settings name it
) -> Open:
    """Open the API with some settings, as often as a test has processes."""

    @contextlib.asynccontextmanager
    async def front(**limits: Any) -> AsyncIterator[Front]:
        limited = settings.model_copy(update=limits)
        app = create_app(limited)
        async with open_services(limited) as services:
            app.state.services = services
            await services.store.indexes.wait()
            yield Front(app)

    return front


@pytest.fixture
def client_of() -> Client:
    """Return a client of the API whose requests are those of a principal."""

    def client(front: Front, principal: Principal) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(_authenticated(front.app, principal)), base_url="http://localhost"
        )

    return client


def _authenticated(app: ASGIApp, principal: Principal) -> ASGIApp:
    async def authenticated(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, PRINCIPAL: principal}, receive, send)

    return authenticated
