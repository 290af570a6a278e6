"""The owner of the tasks that this process sends: the one that its code names, or that of the running task."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from celery._state import _task_stack

from gql_api.access.owner_signature import Owner, checked
from gql_api.worker.state.attempt import AttemptState, attempt_of

_named: ContextVar[Owner | None] = ContextVar("gql_api_owner", default=None)
# While what follows a task is ended: the id of the task.
_followed: ContextVar[str | None] = ContextVar("gql_api_followed", default=None)


@contextlib.contextmanager
def owned_by(owner: str | None, *, tenant: str | None = None) -> Iterator[None]:
    """Give the tasks that are sent in a ``with`` block an owner. It holds for this thread, coroutine or greenlet.

    Args:
        owner: the subject that the tasks belong to, as the tokens of the API name it; None for administrators only.
        tenant: the tenant of the subject, if there are tenants.

    Raises:
        TypeError: the owner or the tenant is not a text.
        ValueError: one of them is empty, too long, or cannot be stored.
    """
    with naming(checked(owner, tenant)):
        yield


@contextlib.contextmanager
def naming(owner: Owner) -> Iterator[None]:
    """Give the tasks that are sent in a ``with`` block an owner that has a task already."""
    token = _named.set(owner)
    try:
        yield
    finally:
        _named.reset(token)


def named_owner() -> Owner | None:
    """Return the owner of :func:`owned_by`; None outside of such a block."""
    return _named.get()


@contextlib.contextmanager
def following(task_id: str | None) -> Iterator[None]:
    """Take the tasks that are ended in a ``with`` block for those that follow another one."""
    token = _followed.set(task_id)
    try:
        yield
    finally:
        _followed.reset(token)


def followed_id() -> str | None:
    """Return the task of :func:`following`."""
    return _followed.get()


def running() -> tuple[Any, AttemptState] | None:
    """Return the request and the attempt of the task that this thread or coroutine runs; None outside of a task.

    A task that another one runs in place is a part of that.
    """
    for task in reversed(_task_stack.stack):
        request = task.request
        if not request.called_directly and not request.is_eager:
            attempt = attempt_of(request)
            if attempt.claim is not None or attempt.is_unrecorded:
                return request, attempt
    return None
