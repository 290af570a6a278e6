"""The limit of open files: every connection is one, and so are those to MongoDB and Redis."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import sys
import time
from typing import Any

from gql_api.api.errors import OverloadedError
from gql_api.telemetry.counters import LIMITS_EXCEEDED

logger = logging.getLogger(__name__)

# For MongoDB, Redis, the broker, the log and the listening socket.
_RESERVED = 100
_LOG_INTERVAL_SECONDS = 10.0
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})


class _Lines:
    """Lines of a log that come once in an interval at most, by their kind."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def warn(self, kind: str, message: str, *args: object) -> None:
        """Log a line, unless one of its kind was logged a short time ago."""
        now = time.monotonic()
        if now - self._last.get(kind, -_LOG_INTERVAL_SECONDS) >= _LOG_INTERVAL_SECONDS:
            self._last[kind] = now
            logger.warning(message, *args)


_lines = _Lines()


def raise_limit() -> None:
    """Raise the limit of open files as far as the process may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems refuse an unlimited number
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def max_connections() -> int:
    """Return how many connections the limit of open files allows, beside those that the process needs for itself."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft - _RESERVED, soft // 2)


def check() -> None:
    """Log and count that no file is left: the event loop may then close new connections without a log line."""
    try:
        os.close(os.dup(0))
    except OSError as error:
        if error.errno in _EXHAUSTED:
            _note_exhaustion(error)


def handle_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle an exception of the event loop; one of a new connection without a file is noted by :func:`check`'s line.

    asyncio's own loop tries again and again to accept a connection, with a traceback each time.
    """
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        _note_exhaustion(error)
    else:
        loop.default_exception_handler(context)


def log_refusal(error: OverloadedError) -> None:
    """Log that a connection was refused, once in an interval for each limit."""
    _lines.warn(str((error.extensions or {})["limit"]), "A connection was refused: %s", error.message)


def _note_exhaustion(error: OSError) -> None:
    LIMITS_EXCEEDED.labels("open files").inc()
    _lines.warn("open files", "New connections fail: %s. Raise the limit of open files (ulimit -n)", error.strerror)
