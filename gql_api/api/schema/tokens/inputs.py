"""The inputs of the mutations that issue tokens."""

from __future__ import annotations

import strawberry
from strawberry import UNSET

from gql_api.access.narrowing import GrantInput
from gql_api.access.new_tokens import DEFAULT_SECONDS, NewToken
from gql_api.api.schema.access.scopes import Scope
from gql_api.api.schema.filters import TaskFilter
from gql_api.api.schema.scalars import JSON, or_default

ACCESS_TOKEN_SECONDS = 900


@strawberry.input(
    description="A short-lived token for a browser or a job. It is never wider than your own: your own filter, names, "
    "metadata and expiry hold for it too."
)
class CreateAccessTokenInput:
    """The input of createAccessToken."""

    scopes: list[Scope] = strawberry.field(description="What the token may be used for; only scopes that you have.")
    filter: TaskFilter | None = strawberry.field(
        default=UNSET,
        description="The token sees matching tasks only, live too. It may use ids, names, queues, parentId, createdAt "
        "and metadata, with AND, OR and NOT; what changes while a task runs is refused.",
    )
    names: list[str] | None = strawberry.field(
        default=UNSET,
        description="The token may create tasks with these names only. If your own token has a list too, names have to "
        "be in both.",
    )
    metadata: JSON | None = strawberry.field(
        default=UNSET,
        description="A JSON object that is merged into the metadata of each task that the token creates, and that its "
        "holder can neither override nor change. Where your own token has such metadata, that wins.",
    )
    expires_in_seconds: int | None = strawberry.field(
        default=ACCESS_TOKEN_SECONDS,
        description="The time until it expires: 15 minutes by default, at most ACCESS_TOKEN_MAX_SECONDS. It never "
        "outlives your own token.",
    )

    def grant_input(self) -> GrantInput:
        """Convert what the token is asked to allow."""
        return GrantInput(
            scopes=self.scopes,
            filter=None if not isinstance(self.filter, TaskFilter) else self.filter.task_filter(),
            names=or_default(self.names, None),
            metadata=or_default(self.metadata, None),
        )


@strawberry.input(
    description="A token for a program, which stays valid until it expires or is revoked. It is never wider than your "
    "own token."
)
class CreateApiTokenInput:
    """The input of createApiToken."""

    name: str = strawberry.field(description="What the token is for, at most 255 characters.")
    subject: str = strawberry.field(
        description="The subject that its holder acts as: it owns the tasks that the token creates, and the token sees "
        "the tasks that it owns."
    )
    tenant: str | None = strawberry.field(
        default=UNSET,
        description="The tenant of the subject; yours by default. If you have one, you cannot name another.",
    )
    scopes: list[Scope] = strawberry.field(description="What the token may be used for; only scopes that you have.")
    filter: TaskFilter | None = strawberry.field(
        default=UNSET,
        description="The token sees matching tasks only, live too. It may use ids, names, queues, parentId, createdAt "
        "and metadata, with AND, OR and NOT; what changes while a task runs is refused.",
    )
    names: list[str] | None = strawberry.field(
        default=UNSET, description="The token may create tasks with these names only."
    )
    queues: list[str] | None = strawberry.field(
        default=UNSET, description="The token may create tasks in these queues only."
    )
    min_priority: int | None = strawberry.field(
        default=UNSET, description="The most urgent priority that it may give to tasks, from 0 (runs first) to 9."
    )
    max_time_limit_seconds: float | None = strawberry.field(
        default=UNSET, description="The longest time limit of the tasks that it creates, and that of those without one."
    )
    metadata: JSON | None = strawberry.field(
        default=UNSET,
        description="A JSON object that is merged into the metadata of each task that the token creates, and that its "
        "holder can neither override nor change.",
    )
    expires_in_seconds: int | None = strawberry.field(
        default=DEFAULT_SECONDS,
        description="The time until it expires; 90 days by default, null for never. If you call with an API token or "
        "an access token, the new one expires with that at the latest.",
    )

    def new_token(self) -> NewToken:
        """Convert what is stored of the token beside its grant."""
        seconds = self.expires_in_seconds
        return NewToken(self.name, self.subject, or_default(self.tenant, None), seconds)

    def grant_input(self) -> GrantInput:
        """Convert what the token is asked to allow."""
        return GrantInput(
            scopes=self.scopes,
            filter=None if not isinstance(self.filter, TaskFilter) else self.filter.task_filter(),
            names=or_default(self.names, None),
            queues=or_default(self.queues, None),
            min_priority=or_default(self.min_priority, None),
            max_time_limit_seconds=or_default(self.max_time_limit_seconds, None),
            metadata=or_default(self.metadata, None),
        )
