"""Locks of Celery and kombu that a pool process must not inherit from a thread of the main process.

A fork copies a lock that another thread holds, but not that thread: in the new process nobody releases it. Python and
PyMongo renew their own locks after a fork; Celery and kombu do not. kombu keeps one lock for each cached property of a
class, held while the value is made, thus while a connection is opened. A pool process that replaced a dead one while a
thread published would wait forever in its own first call.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from celery import signals
from celery.utils.dispatch import Signal


class _Locks:
    """The locks: those of cached properties and of Celery's signals."""

    def __init__(self) -> None:
        self._properties: list[Any] = []
        self._modules = 0

    def collect(self) -> None:
        """Find the properties before a fork, and anew only when modules have been imported since: it takes a while."""
        if self._modules != len(sys.modules):
            self._modules = len(sys.modules)
            self._properties = list(_cached_properties())

    def renew(self) -> None:
        """Make new locks, in the child."""
        for each in self._properties:
            each.lock = threading.RLock()
        for signal in vars(signals).values():
            if isinstance(signal, Signal):
                signal.lock = threading.Lock()


def _cached_properties() -> Iterator[functools.cached_property[Any]]:
    classes: list[type] = [object]
    found: set[type] = {object}
    while classes:
        cls = classes.pop()
        for value in list(vars(cls).values()):
            # From Python 3.12 on only kombu's own have a lock.
            if isinstance(value, functools.cached_property) and hasattr(value, "lock"):
                yield value
        subclasses: list[type] = type.__subclasses__(cls)
        new = [each for each in subclasses if each not in found]
        found.update(new)
        classes.extend(new)


@functools.cache
def renew_locks() -> None:
    """Renew these locks in each process that is forked from now on; further calls change nothing."""
    locks = _Locks()
    os.register_at_fork(before=locks.collect, after_in_child=locks.renew)
