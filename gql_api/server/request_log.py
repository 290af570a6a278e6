"""The log of ``gql-api serve``: lines with time and level, and a line for each request."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import time
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gql_api.api.http.view import OPERATION
from gql_api.api.websocket.transport import call_at_end
from gql_api.telemetry.log_lines import SafeFormatter

logger = logging.getLogger(__name__)

# Probes come every few seconds.
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_STATUSES = {"websocket.accept": 101, "websocket.close": 403}
# The attribute of a record that stands for several lines. They are safe as they are.
_LINES = "request_lines"


class UtcFormatter(SafeFormatter):
    """A formatter of lines that begin with the time in UTC, by RFC 3339, and the level.

    Args:
        has_process: whether the id of the process follows the name of the logger, as in the lines of syslog.
    """

    def __init__(self, *, has_process: bool = False) -> None:
        self._utc = _UtcFormatter(has_process=has_process)
        super().__init__(self._utc)

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record: a line for each request, if it is about requests."""
        lines: Sequence[str] | None = getattr(record, _LINES, None)
        if lines is None:
            return super().format(record)
        head = self._utc.head(record)
        return "\n".join([head + line for line in lines])


class _UtcFormatter(logging.Formatter):
    def __init__(self, *, has_process: bool) -> None:
        super().__init__()
        self._has_process = has_process

    def usesTime(self) -> bool:  # noqa: N802 - its interface
        return False  # formatMessage writes it, in a third of the time

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its interface
        return self.head(record) + record.message

    def head(self, record: logging.LogRecord) -> str:
        time_ = f"{_second(int(record.created))}.{int(record.msecs):03d}Z"
        process = f"[{record.process}]" if self._has_process else ""
        return f"{time_} {record.levelname} {record.name}{process}: "


# There are many lines a second.
@functools.lru_cache(1)
def _second(created: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))


def log_config(level: str, *, has_process: bool = False) -> dict[str, Any]:
    """Return the configuration of logging: our lines and uvicorn's from a level up, those of others from warnings.

    Args:
        level: the name of the level.
        has_process: whether lines have the id of the process.
    """
    ours = level.upper()
    libraries = ours if logging.getLevelNamesMapping()[ours] > logging.WARNING else "WARNING"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"utc": {"()": UtcFormatter, "has_process": has_process}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "utc"}},
        "root": {"level": libraries, "handlers": ["stderr"]},
        "loggers": {
            "gql_api": {"level": ours},
            "uvicorn": {"level": ours},
            # The lines of uvicorn and websockets about handshakes, which have the query.
            "gql_api.server.websocket_protocol": {"level": libraries},
        },
    }


class LogRequests:
    """Middleware that logs each request when its answer has ended, and each WebSocket when it is closed.

    The lines of one turn of the event loop are one record, which is written after it: one by one they take six times as
    long.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lines: list[tuple[int, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it afterwards."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        level = logging.DEBUG if path in _PROBES else logging.INFO
        if scope["type"] == "lifespan" or not logger.isEnabledFor(level):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), None

        async def noting_send(message: Message) -> None:
            nonlocal status
            await send(message)  # fails if the client is gone: no status was sent then
            status = status or message.get("status") or _STATUSES.get(message["type"])

        try:
            await self._app(scope, receive, noting_send)
        finally:
            # The session of a WebSocket may go on. It keeps no more than this of its request.
            line = f"{_request(scope)} {status or '-'}"
            call_at_end(scope, functools.partial(self._end, level, line, began, _operation(scope)))

    def _end(self, level: int, line: str, began: float, operation: str) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._write)
        self._lines.append((level, f"{line} {1000 * (time.perf_counter() - began):.1f} ms{operation}"))

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        for level, group in itertools.groupby(lines, itemgetter(0)):
            texts = [text for _, text in group]
            # Logger.log would look for the line of the code that calls it, which is always this one.
            record = logger.makeRecord(
                logger.name, level, __file__, 0, "\n".join(texts), (), None, extra={_LINES: texts}
            )
            logger.handle(record)


def _request(scope: Scope) -> str:
    # The path as it was sent: decoded, it may contain line ends.
    path = scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")
    client = scope.get("client") or ["-"]
    return _fields(client[0], scope.get("method", "WEBSOCKET"), path)


@functools.lru_cache(64)  # clients choose the texts: the cache is small
def _fields(*texts: str) -> str:
    return " ".join(map(_field, texts))


def _operation(scope: Scope) -> str:
    name = scope.get(OPERATION)
    return f" {_field(name)}" if name else ""


def _field(text: str) -> str:
    """Return a text that is one field of a line, whatever a client or a proxy has sent."""
    # Where every address is trusted, the client is the text of X-Forwarded-For, which may have spaces and line ends.
    return text.encode("unicode_escape").decode("ascii").replace(" ", r"\x20")
