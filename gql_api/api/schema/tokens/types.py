"""API tokens as clients see them, and the payloads of the mutations that issue and revoke tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Self

import strawberry

from gql_api.access.access_tokens import AccessToken
from gql_api.access.grants import shown_grant
from gql_api.access.token_filter import filter_as_json
from gql_api.api.errors import MutationRefusedError
from gql_api.api.schema.access.scopes import Scope
from gql_api.api.schema.payloads import UserError
from gql_api.api.schema.scalars import JSON
from gql_api.api.schema.types import PageInfo
from gql_api.registry.api_tokens import StoredToken

_USER_ERRORS = "Why nothing was done, for reasons that the caller can correct; empty on success."


@strawberry.type(description="An API token. Its secret is not part of it: the API stores only a hash.")
class ApiToken:
    """A stored token."""

    id: strawberry.ID = strawberry.field(
        description="The part of the token that is not secret: the token begins with it."
    )
    name: str = strawberry.field(description="What the token is for.")
    subject: str = strawberry.field(
        description="The subject that its holder acts as, which owns the tasks that the token creates."
    )
    tenant: str | None = strawberry.field(description="The tenant of the subject; null without one.")
    scopes: list[Scope] = strawberry.field(description="The kinds of operations that it may be used for.")
    filter: JSON | None = strawberry.field(
        description="The filter of the tasks that it sees, in the form of the input TaskFilter; null without one."
    )
    names: list[str] | None = strawberry.field(
        description="The names of the tasks that it may create; null for all names."
    )
    queues: list[str] | None = strawberry.field(
        description="The queues into which it may create tasks; null for all queues."
    )
    min_priority: int | None = strawberry.field(
        description="The most urgent priority that it may give to tasks; null for any."
    )
    max_time_limit_seconds: float | None = strawberry.field(
        description="The longest time limit of the tasks that it creates; null without one."
    )
    metadata: JSON = strawberry.field(description="What is merged into the metadata of each task that it creates.")
    created_at: datetime = strawberry.field(
        description="When the token was made, by the clock of the process that made it."
    )
    created_by: str | None = strawberry.field(
        description="The subject that made it; null if it was made on the command line."
    )
    expires_at: datetime | None = strawberry.field(description="When it expires; null if it does not.")
    last_used_at: datetime | None = strawberry.field(
        description="When it was last used, to about a minute; null if it was never used."
    )
    revoked_at: datetime | None = strawberry.field(description="When it was revoked; null while it is not revoked.")

    @classmethod
    def of(cls, token: StoredToken) -> Self:
        """Convert a stored token."""
        grant = shown_grant(token.grant)
        restrictions = grant.restrictions
        return cls(
            id=strawberry.ID(token.id),
            name=token.name,
            subject=token.subject,
            tenant=token.tenant,
            scopes=sorted(grant.scopes),
            filter=None if grant.filter is None else JSON(filter_as_json(grant.filter)),
            names=None if restrictions.names is None else sorted(restrictions.names),
            queues=None if restrictions.queues is None else sorted(restrictions.queues),
            min_priority=restrictions.min_priority,
            max_time_limit_seconds=restrictions.max_time_limit_seconds,
            metadata=JSON(dict(restrictions.metadata)),
            created_at=token.created_at,
            created_by=token.created_by,
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
            revoked_at=token.revoked_at,
        )


@strawberry.type(description="An API token in a list, with its cursor.")
class ApiTokenEdge:
    """An edge, as Relay has them."""

    cursor: str = strawberry.field(description="The position of the token, to pass as after.")
    node: ApiToken = strawberry.field(description="The API token at this position.")


@strawberry.type(description="A page of API tokens, the newest first.")
class ApiTokenConnection:
    """A connection, as Relay has them."""

    edges: list[ApiTokenEdge] = strawberry.field(description="The tokens of the page with their cursors.")
    nodes: list[ApiToken] = strawberry.field(description="The tokens of the page.")
    page_info: PageInfo = strawberry.field(description="Where the page begins and ends, and what is beyond it.")

    @classmethod
    def of(cls, tokens: Sequence[StoredToken], cursors: Sequence[str], *, has_next: bool, has_previous: bool) -> Self:
        """Convert a page."""
        nodes = [ApiToken.of(token) for token in tokens]
        page_info = PageInfo(
            has_next_page=has_next,
            has_previous_page=has_previous,
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        )
        edges = [ApiTokenEdge(cursor=cursor, node=node) for cursor, node in zip(cursors, nodes, strict=True)]
        return cls(edges=edges, nodes=nodes, page_info=page_info)


@strawberry.type(description="The result of issuing a short-lived token.")
class CreateAccessTokenPayload:
    """The result of createAccessToken."""

    token: str | None = strawberry.field(
        default=None,
        description="The token, to send as Authorization: Bearer. Null when userErrors is not empty.",
    )
    expires_at: datetime | None = strawberry.field(
        default=None, description="When it expires; null when userErrors is not empty."
    )
    user_errors: list[UserError] = strawberry.field(default_factory=list, description=_USER_ERRORS)
    # The id of the new token, for the audit log.
    audit_target: strawberry.Private[str | None] = None

    @classmethod
    def of(cls, outcome: AccessToken | MutationRefusedError) -> Self:
        """Convert the outcome."""
        if isinstance(outcome, MutationRefusedError):
            return cls(user_errors=user_errors(outcome))
        return cls(token=outcome.text, expires_at=outcome.expires_at, audit_target=outcome.id)


@strawberry.type(description="The result of making an API token.")
class CreateApiTokenPayload:
    """The result of createApiToken."""

    token: str | None = strawberry.field(
        default=None,
        description="The token with its secret, which nobody can read again. Null when userErrors is not empty.",
    )
    api_token: ApiToken | None = strawberry.field(
        default=None, description="The token as it is stored; null when userErrors is not empty."
    )
    user_errors: list[UserError] = strawberry.field(default_factory=list, description=_USER_ERRORS)

    @property
    def audit_target(self) -> str | None:
        """The id of the new token, by which the audit log names it."""
        return None if self.api_token is None else self.api_token.id


@strawberry.type(description="The result of revoking an API token.")
class RevokeApiTokenPayload:
    """The result of revokeApiToken."""

    api_token: ApiToken | None = strawberry.field(
        default=None, description="The revoked token; null when userErrors is not empty."
    )
    user_errors: list[UserError] = strawberry.field(default_factory=list, description=_USER_ERRORS)


def user_errors(error: MutationRefusedError) -> list[UserError]:
    """Convert a refusal."""
    return [UserError.of(refusal) for refusal in error.refusals]
