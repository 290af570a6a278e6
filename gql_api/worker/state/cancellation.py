"""How a task function learns that somebody asked for its end: the worker's main process knows, and tells its children.

The main process looks for such tasks in MongoDB. Its pool processes share memory with it: a place for each process id,
into which it writes the mark of the claim that is meant. A process that runs another task by then has another mark.
"""

from __future__ import annotations

import mmap
import os

from celery.exceptions import TaskRevokedError

from gql_api.worker.state.process import has_pool_processes

_MARK_BYTES = 16
# One place for each process id there can be on Linux. Only the pages that are touched take memory.
_MAX_PIDS = 1 << 22
_places = mmap.mmap(-1, _MAX_PIDS * _MARK_BYTES)
# Pools without processes run many tasks in the one that knows.
_told: set[bytes] = set()


class TaskCancelledError(TaskRevokedError):
    """Somebody asked for the end of the task that is running. Raised inside task functions, which may clean up."""


def tell(pid: int, claim: str) -> None:
    """Tell the process that runs a task, by its claim, that its end was asked for."""
    mark = bytes.fromhex(claim)
    if has_pool_processes():
        _places[pid * _MARK_BYTES : (pid + 1) * _MARK_BYTES] = mark
    else:
        _told.add(mark)


def forget(claim: str) -> None:
    """Forget a claim that is over."""
    _told.discard(bytes.fromhex(claim))


def is_told(claim: str) -> bool:
    """Whether the end of the task of a claim was asked for, as far as the main process has heard. Costs nothing."""
    mark, place = bytes.fromhex(claim), os.getpid() * _MARK_BYTES
    return mark in _told or _places[place : place + _MARK_BYTES] == mark
