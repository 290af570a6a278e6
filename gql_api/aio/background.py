"""Coroutines that run beside the requests: for as long as a block lasts, or to their ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, ParamSpec, TypeVar

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_AGAIN_SECONDS = 0.1
# The event loop itself holds its tasks weakly.
_under_way: set[asyncio.Task[Any]] = set()


def to_its_end(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a call go on in a task of its own when whoever waits for it is cancelled.

    What uses PyMongo has to. A call that is cancelled costs a connection; and the soak, whose clients leave in numbers,
    left reads waiting for PyMongo's pool when they were cancelled in the middle, which held up the stop of the server.
    """

    @functools.wraps(work)
    async def called(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(work(*args, **kwargs))
        _under_way.add(task)
        task.add_done_callback(_ended)
        return await asyncio.shield(task)

    return called


def _ended(task: asyncio.Task[Any]) -> None:
    """Look at how it ended: perhaps nobody is left who does."""
    _under_way.discard(task)
    if not task.cancelled():
        task.exception()


@contextlib.asynccontextmanager
async def background(*runs: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run coroutines until the block ends, then cancel them and wait for their end. One that fails is begun again."""
    tasks = {asyncio.create_task(_keep_running(run)) for run in runs}
    try:
        yield
    finally:
        await cancelled(tasks)


async def cancelled(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks until they are gone.

    Once is not always enough: before Python 3.12 ``asyncio.wait_for``, which the drivers use, swallows a cancellation
    that meets its result (CPython issue 86296).
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_SECONDS)


async def _keep_running(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            return await run()
        except Exception:
            logger.exception("%s failed and is begun again", getattr(run, "__qualname__", run))
            await asyncio.sleep(_AGAIN_SECONDS)
