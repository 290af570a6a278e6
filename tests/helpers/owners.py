"""Principals of two tenants, an administrator, and a token that sees a part of its owner's tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import httpx
from front import Front
from starlette.types import Receive, Scope, Send

from gql_api.access import principal as access
from gql_api.access.principal import ALL_SCOPES, Principal
from gql_api.api.authentication.authenticator import UnauthenticatedError
from gql_api.api.context import PRINCIPAL
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter

_USER = ALL_SCOPES - {access.Scope.ADMIN}


def with_metadata(path: str, value: Any) -> TaskFilter:
    """Return the filter of the tasks with a value in their metadata."""
    return TaskFilter(metadata=[MetadataCondition(path, {Operator.EQ: value})])


ALICE = Principal("alice", _USER, tenant="acme")
BOB = Principal("bob", _USER, tenant="acme")
# Another subject with the same name.
CAROL = Principal("alice", _USER, tenant="globex")
RED = dataclasses.replace(ALICE, filter=with_metadata("team", "red"))
HEAD = Principal("head", ALL_SCOPES, tenant="acme")
ADMIN = Principal("root", ALL_SCOPES)
PRINCIPALS: dict[str, Principal] = {
    "alice": ALICE, "bob": BOB, "carol": CAROL, "red": RED, "head": HEAD, "admin": ADMIN,
}  # fmt: skip


class ByName:
    """An authenticator whose tokens are the names of the principals above."""

    is_required = True

    async def by_headers(self, headers: Mapping[str, str]) -> Principal:
        """Return the principal that the Authorization header names."""
        principal = PRINCIPALS.get(headers.get("authorization", "").removeprefix("Bearer "))
        if principal is None:
            raise UnauthenticatedError
        return principal


def client_of(front: Front, name: str) -> httpx.AsyncClient:
    """Return an HTTP client of the application that acts as a principal."""
    front.app.state.services = dataclasses.replace(front.services, authenticator=ByName())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await front.app({**scope, PRINCIPAL: PRINCIPALS[name]}, receive, send)

    headers = {"authorization": f"Bearer {name}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers)
