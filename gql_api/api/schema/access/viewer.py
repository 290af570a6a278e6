"""The caller of an operation, as clients see it."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from gql_api.access.principal import Principal, Scope
from gql_api.api.schema.scalars import expose_enum

expose_enum(
    Scope,
    {
        Scope.TASKS_READ: "Read and watch tasks.",
        Scope.TASKS_CREATE: "Create tasks.",
        Scope.TASKS_CONTROL: "Cancel, reschedule, replay, change and delete tasks.",
        Scope.SCHEDULES_WRITE: "Create, change and delete schedules.",
        Scope.OPERATE: "See workers, queues, task functions, tracebacks and metrics.",
        Scope.ADMIN: "See the tasks of all owners, and administer tokens.",
    },
    description="A kind of operations that a caller may use. Which tasks it sees is another question: its own, and "
    "with ADMIN those of all owners.",
)


@strawberry.type(description="The caller: whom its token names, and what it may do.")
class Viewer:
    """The principal of a request."""

    subject: str | None = strawberry.field(
        description="Who the caller is, and the owner of the tasks that it creates; null if the API has no "
        "authentication."
    )
    scopes: list[Scope] = strawberry.field(
        description="The operations that the caller may use; all of them if the API has no authentication."
    )
    expires_at: datetime | None = strawberry.field(
        description="The time at which the caller's token expires, and its subscriptions end; null if it does not."
    )

    @classmethod
    def of(cls, principal: Principal) -> Self:
        """Convert a principal. Its scopes are in the order of the enum."""
        scopes = [scope for scope in Scope if principal.has(scope)]
        return cls(subject=principal.subject, scopes=scopes, expires_at=principal.expires_at)
