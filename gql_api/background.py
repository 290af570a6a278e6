"""Coroutines that run beside the requests, for as long as a block lasts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

_AGAIN_SECONDS = 0.1


@contextlib.asynccontextmanager
async def background(*runs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines until the block ends, then cancel them and wait for their end.

    They are cancelled until they are gone: before Python 3.12 ``asyncio.wait_for``, which the drivers use, swallows a
    cancellation that meets its result (CPython issue 86296).
    """
    tasks = {asyncio.create_task(run) for run in runs}
    try:
        yield
    finally:
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=_AGAIN_SECONDS)
