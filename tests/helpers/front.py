"""The schema over real services, without HTTP in front of it, and what it sends to MongoDB."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from strawberry.types import ExecutionResult

from gql_api.access.principal import ANONYMOUS
from gql_api.api.context import PRINCIPAL, Services, context_of
from gql_api.api.schema.build import schema
from gql_api.record import fields


@dataclass(frozen=True)
class Front:
    """The schema over real services, without HTTP in front of it."""

    app: Starlette

    @property
    def services(self) -> Services:
        """What the resolvers use."""
        services: Services = self.app.state.services
        return services

    async def ask(self, document: str, **variables: Any) -> ExecutionResult:
        """Run an operation, as one request."""
        context = context_of(Request({"type": "http", "app": self.app, PRINCIPAL: ANONYMOUS}), Response())
        result = await schema.execute(document, variable_values=variables, context_value=context)
        assert isinstance(result, ExecutionResult)
        return result

    async def data(self, document: str, **variables: Any) -> dict[str, Any]:
        """Run an operation that must succeed, and return its data."""
        result = await self.ask(document, **variables)
        assert result.errors is None, result.errors
        assert result.data is not None
        return result.data


class Commands(CommandListener):
    """The commands about tasks that the API has sent to MongoDB."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def counts(self) -> Counter[str]:
        """How many there were, by name."""
        return Counter(next(iter(command)) for command in self.sent)

    def started(self, event: CommandStartedEvent) -> None:
        """Note one that reads tasks."""
        if fields.TASKS in (event.command.get(event.command_name), event.command.get("collection")):
            self.sent.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Note nothing."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Note nothing."""
