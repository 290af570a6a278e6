"""Work that a thread does ahead: while recovery sends the messages of some tasks, MongoDB changes the next ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items of an iterator, each of which is made while the one before it is used.

    If the user ends early, one more item may have been made.
    """
    following = _next_of(items)
    try:
        while made := following.result():
            following = _next_of(items)
            yield made[0]
    finally:
        following.exception()


def _next_of(items: Iterator[T]) -> Future[tuple[T] | None]:
    """Start a thread that makes the next item. The future has a tuple of the item, or None after the last item."""
    made: Future[tuple[T] | None] = Future()

    def make() -> None:
        try:
            made.set_result(next(((item,) for item in items), None))
        except BaseException as error:  # noqa: BLE001 - the user of the items gets it
            made.set_exception(error)

    # Not by an executor: the process would wait for its thread at the end, and MongoDB may not answer.
    threading.Thread(target=make, name="recovery ahead", daemon=True).start()
    return made
