"""Coroutines that run beside the requests, for as long as a block lasts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 0.1


@contextlib.asynccontextmanager
async def background(*runs: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run coroutines until the block ends, then cancel them and wait for their end. One that fails is begun again."""
    tasks = {asyncio.create_task(_keep_running(run)) for run in runs}
    try:
        yield
    finally:
        await cancelled(tasks)


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
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
