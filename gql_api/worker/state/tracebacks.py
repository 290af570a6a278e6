"""The tracebacks of ended attempts, dropped at once.

Celery's tracer keeps the exception of an attempt in a variable, and the traceback of the exception refers back to the
tracer's frame. That cycle also holds billiard's copy of the traceback, which has the position of every instruction of
each function in it: half a megabyte for a retry, that only Python's rare full collection frees.
"""

from __future__ import annotations

import threading
from typing import Any

from celery import signals

_ended = threading.local()


def attach() -> None:
    """Note the exceptions of the attempts that end in this process from here on."""
    signals.task_postrun.connect(_note, weak=False)


def drop() -> None:
    """Drop the traceback of the attempt that has just ended in this thread, and those of what caused its exception."""
    errors = [_ended.__dict__.pop("error", None)]
    seen = set()
    while errors:
        error = errors.pop()
        if isinstance(error, BaseException) and id(error) not in seen:
            seen.add(id(error))
            error.__traceback__ = None
            # Celery's Retry has the exception that the function passed.
            errors += [error.__cause__, error.__context__, getattr(error, "exc", None)]


def _note(retval: Any = None, **_: Any) -> None:
    # Others that receive the signal after this one may still read the traceback.
    if isinstance(retval, BaseException):
        _ended.error = retval
