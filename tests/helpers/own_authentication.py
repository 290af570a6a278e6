"""Functions for AUTHENTICATE, as a deployment would write them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from gql_api.access import Principal, Scope

NOT_A_FUNCTION = 7


async def by_header(headers: Mapping[str, str]) -> Principal | None:
    """Return the user that a proxy names in a header of its own."""
    user = headers.get("X-Remote-User")
    return None if user is None else Principal(user, frozenset({Scope.TASKS_READ}))


def in_thread(headers: Mapping[str, str]) -> Principal | None:
    """Return the cookies of the request and the name of the thread, as a subject."""
    return Principal(f"{headers['Cookie']} in {threading.current_thread().name}", frozenset())


def failing(_headers: Mapping[str, str]) -> Principal | None:
    """Fail as code with a fault does."""
    raise RuntimeError("the password is secret")


async def expired(_headers: Mapping[str, str]) -> Principal:
    """Return a principal whose time is over."""
    return Principal("late", frozenset(), expires_at=datetime(2020, 1, 1, tzinfo=UTC))


async def something_else(_headers: Mapping[str, str]) -> str:
    """Return what is no principal."""
    return "ann"
