"""The cancel requests that the worker's main process has found, readable where the tasks run.

The main process reads them from MongoDB and writes the token of the claim that is meant into the shared slot of the
process that runs it. A process that runs another task by then has a claim with another token.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar

from gql_api.worker.state.process import has_pool_processes
from gql_api.worker.state.shared_memory import ProcessSlots

# A token is a UUID.
_slots = ProcessSlots(16)
# Pools without processes run many tasks in the main process.
_tokens: set[bytes] = set()
# While this process ends a cancelled task and what follows it: the subject of the caller who has cancelled that.
_actor: ContextVar[str | None] = ContextVar("gql_api_actor", default=None)


def notify(pid: int, claim: str) -> None:
    """Notify the process that runs a task of the cancel request for its claim."""
    token = bytes.fromhex(claim)
    if has_pool_processes():
        _slots.write(pid, token)
    else:
        _tokens.add(token)


def clear(claim: str) -> None:
    """Clear the cancel request for a claim that has ended."""
    _tokens.discard(bytes.fromhex(claim))


def is_requested(claim: str) -> bool:
    """Return whether the main process has found a cancel request for a claim. Reads memory only."""
    token = bytes.fromhex(claim)
    return token in _tokens or _slots.read(os.getpid()) == token


@contextlib.contextmanager
def in_the_name_of(actor: str | None) -> Iterator[None]:
    """Revoke the tasks that end in a ``with`` block in the name of the caller who has cancelled the first of them."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def actor() -> str | None:
    """Return the subject of :func:`in_the_name_of`; None if no caller has cancelled the task that ends."""
    return _actor.get()
