"""The resolvers of the query and the mutations of tokens."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import strawberry
from strawberry import UNSET

from gql_api import values
from gql_api.api.context import Info
from gql_api.api.errors import BAD_INPUT, ClientError, MutationRefusedError
from gql_api.api.schema.pagination import DEFAULT_PAGE_SIZE, checked_size
from gql_api.api.schema.scalars import or_default
from gql_api.api.schema.tokens.inputs import ACCESS_TOKEN_SECONDS, CreateAccessTokenInput, CreateApiTokenInput
from gql_api.api.schema.tokens.types import (
    ApiToken,
    ApiTokenConnection,
    CreateAccessTokenPayload,
    CreateApiTokenPayload,
    RevokeApiTokenPayload,
    user_errors,
)
from gql_api.registry.api_tokens import StoredToken

_LIST = "apiTokens"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


async def create_access_token(
    info: Info,
    input: Annotated[CreateAccessTokenInput, strawberry.argument(description="What the token allows.")],
) -> CreateAccessTokenPayload:
    """Issue a short-lived token."""
    seconds = or_default(input.expires_in_seconds, ACCESS_TOKEN_SECONDS)
    try:
        token = info.context.services.issuer.create_access_token(input.grant_input(), seconds, info.context.principal)
    except MutationRefusedError as error:
        return CreateAccessTokenPayload.of(error)
    return CreateAccessTokenPayload.of(token)


async def create_api_token(
    info: Info,
    input: Annotated[CreateApiTokenInput, strawberry.argument(description="The token, and what it allows.")],
) -> CreateApiTokenPayload:
    """Make an API token."""
    issuer = info.context.services.issuer
    try:
        stored, text = await issuer.create_api_token(input.new_token(), input.grant_input(), info.context.principal)
    except MutationRefusedError as error:
        return CreateApiTokenPayload(user_errors=user_errors(error))
    return CreateApiTokenPayload(token=text, api_token=ApiToken.of(stored))


async def revoke_api_token(
    info: Info,
    id: Annotated[strawberry.ID, strawberry.argument(description="The id of the token, as apiTokens has it.")],
) -> RevokeApiTokenPayload:
    """Revoke an API token."""
    try:
        revoked = await info.context.services.issuer.revoke_api_token(id, info.context.principal)
    except MutationRefusedError as error:
        return RevokeApiTokenPayload(user_errors=user_errors(error))
    return RevokeApiTokenPayload(api_token=ApiToken.of(revoked))


async def api_tokens(
    info: Info,
    first: Annotated[
        int | None,
        strawberry.argument(description="How many tokens the page has at most, from 1 to 500; 20 by default."),
    ] = DEFAULT_PAGE_SIZE,
    after: Annotated[
        str | None, strawberry.argument(description="A cursor of another page: this one begins behind it.")
    ] = UNSET,
) -> ApiTokenConnection:
    """Read a page of API tokens."""
    size = checked_size("first", or_default(first, DEFAULT_PAGE_SIZE))
    cursor = or_default(after, None)
    position = None if cursor is None else _position(cursor)
    tokens = await info.context.services.issuer.api_tokens(size + 1, position, info.context.principal)
    page = tokens[:size]
    return ApiTokenConnection.of(
        page, [*map(_cursor, page)], has_next=len(tokens) > size, has_previous=position is not None
    )


def _cursor(token: StoredToken) -> str:
    text = json.dumps([_LIST, (token.created_at - _EPOCH) // _MILLISECOND, token.id])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        list_, milliseconds, id_ = json.loads(base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True))
        if list_ != _LIST or type(milliseconds) is not int or not isinstance(id_, str) or not values.is_text(id_):
            raise ValueError(cursor)  # noqa: TRY301 - as the reads above do
        return _EPOCH + milliseconds * _MILLISECOND, id_
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error) as error:
        raise ClientError("after: must be a cursor of this list", BAD_INPUT) from error
