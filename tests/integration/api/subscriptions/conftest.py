"""The services of an API, and subscribers for any principal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from support import wait_until_async
from watchers import Subscriber

from gql_api.access.principal import Principal
from gql_api.api.context import Services
from gql_api.app import open_services
from gql_api.settings import Settings

Subscribe = Callable[..., Subscriber]


@pytest.fixture
async def services(
    settings: Settings,
    prepared: str,  # noqa: ARG001 - the settings name it
) -> AsyncIterator[Services]:
    """The services of an API, connected."""
    async with open_services(settings) as services:

        async def connected() -> bool:
            return services.feed.connected

        await wait_until_async(connected)
        yield services


@pytest.fixture
async def subscribe(services: Services) -> AsyncIterator[Subscribe]:
    """A function that begins a subscription of a principal, which ends with the test."""
    begun: list[Subscriber] = []

    def begin(principal: Principal, document: str, **variables: Any) -> Subscriber:
        begun.append(Subscriber(services, principal, document, **variables))
        return begun[-1]

    yield begin
    for subscriber in begun:
        await subscriber.leave()
