"""The short path of ordinary requests has the answers of the view, and leaves to it what is unusual."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import re
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from front import Front
from owners import PRINCIPALS, ByName
from prometheus_client import REGISTRY
from pymongo.collection import Collection
from root_fields import root_fields
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gql_api.api.http.view import GraphQLView
from gql_api.app import create_app
from gql_api.record import fields, writes
from gql_api.record.audit.entries import AUDIT_LOG
from gql_api.record.model import NewTask
from gql_api.record.reads import Document
from gql_api.server.request_log import LogRequests
from gql_api.settings import Settings
from gql_api.worker.store.tasks import Store

_GET = "query Get($id: ID!) { task(id: $id) { id name status metadata progress { percent } createdAt } }"
_PAGE = (
    "query ($first: Int, $all: Boolean = false) { tasks(first: $first) { nodes { id } totalCount @include(if: $all) } }"
)
_TWO = "query one { task(id: 1) { id } } query two { viewer { subject } }"
_CREATE = (
    "mutation Create($input: CreateTaskInput!) { createTask(input: $input) { task { id } userErrors { code field } } }"
)
_QUERIES: list[Any] = [
    *(field.document for field in root_fields()),
    *(_GET, _PAGE, _TWO, _CREATE),
    "{ a: task(id: 1) { id } b: tasks { nodes { id } } }",
    '{ task(id: "misfit") { id attempts } }',
    "{ tasks { nodes { id attempts definition { name } } } }",
    "{ tasks(first: 500) { nodes { children(first: 500) { nodes { id } } } } }",
    "{ tsak { id } }",
    "{ task(",
    "",
    None,
    5,
]
_VARIABLES: list[Any] = [
    *({}, None, [], {"id": "alice"}, {"id": 7}, {"id": None}, {"id": "none", "more": True}, {"first": 2, "all": True}),
    *({"first": 0}, {"first": "1"}, {"all": None}, {"input": {"name": "unknown"}}, {"input": {}}),
    {"id": {"deep": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}},
]
_OTHERS: list[dict[str, Any]] = [
    *({}, {}, {}, {"extensions": {"cost": True}}, {"extensions": 1}, {"documentId": "x"}, {"documentId": 1}),
    *({"operationName": "Get"}, {"operationName": "two"}, {"operationName": ""}, {"operationName": 1}, {"more": 1}),
]
_ACCEPTS = [
    *(None, None, "*/*", "application/json", "application/graphql-response+json", "text/html"),
    *("text/event-stream", "application/json, text/event-stream;q=0.5"),
]
_TYPES = ["application/json"] * 6 + ["Application/JSON ; charset=utf-8", "text/plain", None]
_UNIQUE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}|\d{4}-\d\d-\d\dT[\d:.]+\+00:00|[\d.]+ ms")

# What these log depends on how busy the machine is.
_TIMED = {"gql_api.telemetry.watchdog", "asyncio"}


class _Answer(NamedTuple):
    """What a client and an operator see of a request."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: str
    log: list[str]
    counters: dict[str, float]
    audited: list[tuple[Any, ...]]


class _NoShortPath:
    """Middleware that passes all requests on, in place of the short path."""

    def __init__(self, app: ASGIApp, _limits: object) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        await self.app(scope, receive, send)


class _Sides:
    """An application with the short path, and the same one without it."""

    def __init__(self, apps: list[Starlette], audit: Collection[Document], log: pytest.LogCaptureFixture) -> None:
        self.short, self.long = apps
        self._audit = audit
        self._log = log

    async def compare(self, body: bytes, headers: dict[str, str]) -> _Answer:
        """Check that both sides have the same answer. The first request lets the short path know the document."""
        await self.send(self.short, body, headers)
        short, long = await self.send(self.short, body, headers), await self.send(self.long, body, headers)
        assert short == long, (body, headers)
        return short

    async def send(self, app: Starlette, body: bytes, headers: dict[str, str]) -> _Answer:
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
        changes = {name: value - before.get(name, 0) for name, value in _counters().items()}
        written = self._audit.find({}).sort("_id").skip(entries)
        names = ("op", "operation", "outcome", "codes")
        return _Answer(
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


@pytest.fixture
async def sides(
    front: Front,
    settings: Settings,
    tasks: Collection[Document],
    worker: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> _Sides:
    """Both sides over tasks of several owners, one of which does not fit."""
    for name in ("alice", "bob", "misfit"):
        worker.change(writes.create(NewTask(id=name, name="add", owner="alice", tenant="acme")), upsert=True)
    tasks.update_one({"_id": "misfit"}, {"$unset": {fields.ATTEMPTS: 1}}, bypass_document_validation=True)
    monkeypatch.setattr("gql_api.app.ShortPath", _NoShortPath)
    front.app.state.services = replace(front.services, authenticator=ByName())
    long = create_app(settings)
    long.state.services = front.services
    caplog.set_level(logging.INFO)
    return _Sides([front.app, long], tasks.database[AUDIT_LOG], caplog)


async def test_answers_log_lines_counters_and_audit_are_those_of_the_view(sides: _Sides) -> None:
    """Requests of every kind, most of them unusual, have the same consequences for every principal."""
    choose = random.Random(23).choice  # noqa: S311 - the same requests in each run
    for number, query in enumerate(_QUERIES * 5):
        body = {"query": query, "variables": choose(_VARIABLES), **choose(_OTHERS)}
        names = {"accept": choose(_ACCEPTS), "content-type": choose(_TYPES)}
        names["authorization"] = f"Bearer {choose([*PRINCIPALS, *PRINCIPALS, 'nobody'])}"
        if number % 3:
            body = {"query": query, "variables": choose(_VARIABLES)}
            names["content-type"] = "application/json"
        if "event-stream" in (names["accept"] or "") and str(query).startswith("subscription"):
            continue  # its answer has no end
        await sides.compare(json.dumps(body).encode(), {name: value for name, value in names.items() if value})


async def test_what_is_no_request_is_refused_as_by_the_view(sides: _Sides) -> None:
    """The bodies that are not JSON, not an object, or in another encoding of Unicode."""
    request = '{"query": "{ __typename }"}'
    bodies = [
        *(b"", b"{", b"[]", b"5", b'"text"', b'{"query": NaN}', b'{"query": "\\ud800"}', b"\xff" * 20, b"[" * 5000),
        *(request.encode("utf-16"), f"\ufeff{request}".encode(), f"{request} x".encode()),
        b'{"query": "{ __typename }", "query": "{ viewer { subject } }"}',
    ]
    for body in bodies:
        await sides.compare(body, {"content-type": "application/json", "authorization": "Bearer admin"})


async def test_an_ordinary_request_does_not_reach_the_view(sides: _Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short path answers a document that is known by itself, and only such a document."""
    body = json.dumps({"query": _GET, "variables": {"id": "alice"}}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer alice"}
    first = await sides.send(sides.short, body, headers)
    reached = []

    async def run(*_arguments: object) -> None:
        reached.append(1)
        raise AssertionError

    monkeypatch.setattr(GraphQLView, "run", run)
    assert await sides.send(sides.short, body, headers) == first
    assert '"name":"add"' in first.body
    assert first.log == ["127.0.0.1 POST /graphql 200 ? Get"]
    with pytest.raises(AssertionError):
        await sides.send(sides.short, json.dumps({"query": "{ taskDefinitions { name } }"}).encode(), headers)
    assert reached == [1]


async def test_a_query_of_a_client_that_disconnects_is_cancelled(
    sides: _Sides, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its read ends, and the answer has the status 499."""
    headers = {"content-type": "application/json", "authorization": "Bearer admin"}
    body = json.dumps({"query": _GET, "variables": {"id": "alice"}}).encode()
    await sides.send(sides.short, body, headers)
    cancelled = []

    async def wait(*_arguments: object) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    monkeypatch.setattr(front.services.store.partial, "load", wait)
    messages: list[Message] = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await sides.short(scope(headers), receive, send)
    assert cancelled == [1]
    assert sent[0]["status"] == 499
    assert sent[1]["body"] == b'{"errors":[{"message":"The client has disconnected"}]}'
