"""The schema over real services, without HTTP in front of it, and what it sends to MongoDB."""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from strawberry.types import ExecutionResult

from gql_api.access.principal import ANONYMOUS, Principal
from gql_api.api.context import PRINCIPAL, Services, context_of
from gql_api.api.schema.build import schema
from gql_api.record import fields

# Whether an operation of a front runs, also in the tasks that it begins.
_in_operation: ContextVar[bool] = ContextVar("in_operation", default=False)


@dataclass(frozen=True)
class Front:
    """The schema over real services, without HTTP in front of it. It runs operations as a principal, if it has one."""

    app: Starlette
    principal: Principal = ANONYMOUS

    @property
    def services(self) -> Services:
        """What the resolvers use."""
        services: Services = self.app.state.services
        return services

    async def ask(self, document: str, **variables: Any) -> ExecutionResult:
        """Run an operation, as one request."""
        scope = {"type": "http", "app": self.app, PRINCIPAL: self.principal}
        context = context_of(Request(scope), Response())
        token = _in_operation.set(True)
        try:
            result = await schema.execute(document, variable_values=variables, context_value=context)
        finally:
            _in_operation.reset(token)
        assert isinstance(result, ExecutionResult)
        return result

    def acting_as(self, principal: Principal) -> Front:
        """The same services for another caller."""
        return replace(self, principal=principal)

    async def data(self, document: str, **variables: Any) -> dict[str, Any]:
        """Run an operation that must succeed, and return its data."""
        result = await self.ask(document, **variables)
        assert result.errors is None, result.errors
        assert result.data is not None
        return result.data


class Commands(CommandListener):
    """The commands about tasks that the API has sent to MongoDB.

    Attributes:
        of_operations_only: whether those are left out that the API sends by itself, for its statistics for example.
    """

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.of_operations_only = False

    def counts(self) -> Counter[str]:
        """How many there were, by name."""
        return Counter(next(iter(command)) for command in self.sent)

    def started(self, event: CommandStartedEvent) -> None:
        """Note one that reads tasks."""
        if self.of_operations_only and not _in_operation.get():
            return
        if fields.TASKS in (event.command.get(event.command_name), event.command.get("collection")):
            self.sent.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Note nothing."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Note nothing."""
