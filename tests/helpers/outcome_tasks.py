"""Task functions that end in unusual ways, on a worker of any pool."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped] # it has no types
import greenlet  # type: ignore[import-untyped] # as above
from celery import shared_task
from celery.exceptions import Ignore, Reject

from gql_api.worker.app.task import Task


class NeedsTwo(ValueError):  # noqa: N818 - a name as users choose them
    """An exception whose constructor does not take its own ``args``."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} is not {right}")
        self.right = right


class Locked(RuntimeError):  # noqa: N818 - as above
    """An exception that holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("busy", threading.Lock())

    def __str__(self) -> str:
        return "it is locked"


class Bare(Exception):  # noqa: N818 - as above
    """An exception with neither a pickleable form nor a pickleable base class."""

    def __init__(self, *, key: str) -> None:
        super().__init__(key)
        self.lock = threading.Lock()


class Wordless(Exception):  # noqa: N818 - as above
    """An exception that has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Stop(BaseException):
    """An exception outside of ``Exception``."""


def _local() -> Exception:
    class Hidden(ValueError):  # noqa: N818 - as above
        """An exception that no other module can import."""

    return Hidden("out of sight")


_ERRORS: dict[str, Callable[[], BaseException]] = {
    "NeedsTwo": lambda: NeedsTwo(1, 2),
    "Locked": Locked,
    "Bare": lambda: Bare(key="front door"),
    "Wordless": Wordless,
    "_local.<locals>.Hidden": _local,
    "Stop": lambda: Stop("enough"),
    "MemoryError": lambda: MemoryError("no room"),
    "SystemExit": lambda: SystemExit("3"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "GreenletExit": greenlet.GreenletExit,
    "Timeout": lambda: gevent.Timeout(7),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("two", [Stop("inside")]),
    "CancelledError": lambda: asyncio.CancelledError("by the loop"),
}


@shared_task
def pid() -> int:
    """Return the process that runs tasks."""
    return os.getpid()


@shared_task
def fail(kind: str) -> None:
    """Raise an error."""
    error = _ERRORS[kind]()
    raise error


@shared_task(bind=True, max_retries=0)
def give_up(self: Task, kind: str) -> None:
    """Ask for a retry that the function does not get."""
    raise self.retry(exc=_ERRORS[kind](), countdown=0)


class Guarded(Task):
    """A base class that lets no task begin."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Raise an error."""
        error = _ERRORS[args[0]]()
        raise error


@shared_task(base=Guarded)
def guarded(kind: str) -> str:
    """Return what the base class never lets it return."""
    return kind


class SetsState(Task):
    """A base class that sets a state before the task begins, and perhaps lets no task begin."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Set a state."""
        state, way, end = args
        if way == "backend":
            self.backend.store_result(task_id, None, state)
        else:
            self.update_state(state=state, meta={"by": "hand"})
        super().before_start(task_id, args, kwargs)
        if end == "ignore":
            raise Ignore
        if end == "error":
            raise NeedsTwo(1, 2)


@shared_task(base=SetsState)
def set_state_first(state: str, way: str, end: str) -> str:
    """Go on after the state that the base class has set."""
    return f"went on after {state} by {way}: {end}"


@shared_task(bind=True)
def ignore(self: Task, reason: str | None = None, state: str | None = None, meta: Any = None) -> None:
    """Raise ``Ignore``, perhaps after a state that the function sets itself."""
    if state is not None:
        self.update_state(state=state, meta=meta)
    raise Ignore(reason) if reason else Ignore


@shared_task
def reject(reason: str | None = None) -> None:
    """Raise ``Reject``."""
    raise Reject(reason)


@shared_task
def reject_once(file: str, reason: str) -> str:
    """Reject the message the first time, and leave a file behind."""
    if Path(file).exists():
        return "accepted"
    Path(file).touch()
    raise Reject(reason, requeue=True)


@shared_task
def reject_always(reason: str) -> None:
    """Reject the message each time."""
    raise Reject(reason, requeue=True)


@shared_task(bind=True)
def set_state(self: Task, state: str, *, directly: bool = False) -> str:
    """Set a state and go on."""
    if directly:
        self.backend.store_result(self.request.id, None, state)
    else:
        self.update_state(state=state, meta={"by": "hand"})
    return "went on"


@shared_task(bind=True)
def mark_as(self: Task, outcome: str) -> str:
    """Call the result backend as Celery does, and go on."""
    if outcome == "failure":
        self.backend.mark_as_failure(self.request.id, ValueError("by hand"), request=self.request)
    elif outcome == "done":
        self.backend.mark_as_done(self.request.id, "by hand", request=self.request)
    else:
        self.backend.mark_as_revoked(self.request.id, "by hand", request=self.request)
    return "went on"


@shared_task
def count(results: list[Any]) -> int:
    """Return how many results there are."""
    return len(results)
