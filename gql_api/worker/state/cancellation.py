"""The cancel requests that the worker's main process has found, readable where the tasks run.

The main process reads them from MongoDB and writes the token of the claim that is meant into the shared slot of the
process that runs it. A process that runs another task by then has a claim with another token.
"""

from __future__ import annotations

import os

from gql_api.worker.state.process import has_pool_processes
from gql_api.worker.state.shared_memory import ProcessSlots

# A token is a UUID.
_slots = ProcessSlots(16)
# Pools without processes run many tasks in the main process.
_tokens: set[bytes] = set()


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
