"""The caller of an operation, as clients see it."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from gql_api.access.principal import Principal
from gql_api.api.schema.access.scopes import Scope


@strawberry.type(description="The caller: its identity, and what it may do.")
class Viewer:
    """The principal of a request."""

    subject: str | None = strawberry.field(
        description="The identity of the caller, which owns the tasks that it creates; null if the API has no "
        "authentication."
    )
    scopes: list[Scope] = strawberry.field(
        description="The kinds of operations that the caller may use; all of them if the API has no authentication."
    )
    expires_at: datetime | None = strawberry.field(
        description="The time at which the caller's token expires and its subscriptions end; null if it does not "
        "expire."
    )

    @classmethod
    def of(cls, principal: Principal) -> Self:
        """Convert a principal. Its scopes are in the order of the enum."""
        scopes = [scope for scope in Scope if principal.has(scope)]
        return cls(subject=principal.subject, scopes=scopes, expires_at=principal.expires_at)
