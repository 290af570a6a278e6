"""The running event loop of a greenlet: asyncio keeps one for each thread, in which gevent runs many greenlets."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

_separated: set[int] = set()


def separate_running_loops() -> None:
    """Give each greenlet of this thread a running event loop of its own, if gevent is in use.

    Without it, while a coroutine waits, every other greenlet of the thread seems to run in its event loop:
    ``asyncio.run`` fails there, and so does Django, which allows no queries in an event loop. Call it before the first
    coroutine runs in this thread.
    """
    gevent = sys.modules.get("gevent.monkey")
    if gevent is None or not gevent.is_module_patched("threading"):
        return
    thread = gevent.get_original("threading", "get_ident")()
    if thread not in _separated:
        _separated.add(thread)
        _trace_switches()


def _trace_switches() -> None:
    # It comes with gevent, and has no types.
    greenlet: Any = sys.modules["greenlet"]
    running: dict[Any, asyncio.AbstractEventLoop] = {}
    earlier = greenlet.gettrace()

    def trace(event: Any, greenlets: Any) -> None:
        if event in {"switch", "throw"}:
            origin, target = greenlets
            loop = asyncio._get_running_loop()  # noqa: SLF001 - the two functions are public to event loops
            if loop is not None:
                running[origin] = loop
            asyncio._set_running_loop(running.pop(target, None))  # noqa: SLF001 - as above
        if earlier is not None:
            earlier(event, greenlets)

    greenlet.settrace(trace)
