"""An application with the short path beside the same one without it: what clients and operators see of a request."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any, NamedTuple

import pytest
from prometheus_client import REGISTRY
from pymongo.collection import Collection
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gql_api.record.reads import Document
from gql_api.server.request_log import LogRequests

_UNIQUE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}|\d{4}-\d\d-\d\dT[\d:.]+\+00:00|[\d.]+ ms")

# What these log depends on how busy the machine is.
_TIMED = {"gql_api.telemetry.watchdog", "asyncio"}


class Answer(NamedTuple):
    """What a client and an operator see of a request."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: str
    log: list[str]
    counters: dict[str, float]
    audited: list[tuple[Any, ...]]


class NoShortPath:
    """Middleware that passes all requests on, in place of the short path."""

    def __init__(self, app: ASGIApp, _limits: object) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        await self.app(scope, receive, send)


class Sides:
    """An application with the short path, and the same one without it."""

    def __init__(self, apps: list[Starlette], audit: Collection[Document], log: pytest.LogCaptureFixture) -> None:
        self.short, self.long = apps
        self._audit = audit
        self._log = log

    async def compare(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Check that both sides have the same answer. The first request lets the short path know the document."""
        await self.send(self.short, body, headers)
        short, long = await self.send(self.short, body, headers), await self.send(self.long, body, headers)
        assert short == long, (body, headers)
        return short

    async def send(self, app: Starlette, body: bytes, headers: dict[str, str]) -> Answer:
        """Send a request in two parts, and wait for its answer."""
        messages = [
            {"type": "http.request", "body": body[:9], "more_body": True},
            {"type": "http.request", "body": body[9:], "more_body": False},
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return messages.pop(0) if messages else await asyncio.get_running_loop().create_future()

        async def send(message: Message) -> None:
            sent.append(message)

        before, entries = _counters(), self._audit.count_documents({})
        self._log.clear()
        await LogRequests(app)(scope(headers), receive, send)
        await asyncio.sleep(0)  # the line of log is written then
        changes = {name: value - before.get(name, 0) for name, value in _counters().items()}
        written = self._audit.find({}).sort("_id").skip(entries)
        names = ("op", "operation", "outcome", "codes")
        return Answer(
            sent[0]["status"],
            [(name, _UNIQUE.sub("?", value.decode()).encode()) for name, value in sent[0]["headers"]],
            _UNIQUE.sub("?", b"".join(each.get("body", b"") for each in sent).decode()),
            [_UNIQUE.sub("?", each.getMessage()) for each in self._log.records if each.name not in _TIMED],
            {name: change for name, change in changes.items() if change},
            [tuple(str(entry.get(name)) for name in names) for entry in written],
        )


def scope(headers: dict[str, str]) -> dict[str, Any]:
    """Return the scope of a request to ``/graphql``."""
    return {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "query_string": b"",
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 8000),
        "headers": [(name.encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()],
    }


def _counters() -> dict[str, float]:
    """Return the counters of the process, without times."""
    samples = itertools.chain.from_iterable(metric.samples for metric in REGISTRY.collect())
    return {
        f"{each.name}{each.labels}": each.value
        for each in samples
        if each.name.startswith("gql_api_")
        and each.name.endswith(("_total", "_count"))
        and "event_loop" not in each.name
    }
