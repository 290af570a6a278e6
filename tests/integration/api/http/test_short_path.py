"""The short path of ordinary requests has the answers of the view, and leaves to it what is unusual."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from dataclasses import replace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest
from front import Front
from owners import PRINCIPALS, ByName
from pymongo.collection import Collection
from pymongo.errors import ServerSelectionTimeoutError
from root_fields import root_fields
from sides import NoShortPath, Sides, scope
from starlette.types import Message

from gql_api.api.errors import NoSlotError
from gql_api.api.http import short_path
from gql_api.api.http.view import GraphQLView
from gql_api.app import create_app
from gql_api.record import fields, writes
from gql_api.record.audit.entries import AUDIT_LOG
from gql_api.record.model import NewTask
from gql_api.record.reads import Document
from gql_api.settings import Settings
from gql_api.telemetry.watchdog import label_task
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


@pytest.fixture
async def sides(
    front: Front,
    settings: Settings,
    tasks: Collection[Document],
    worker: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Sides:
    """Both sides over tasks of several owners, one of which does not fit."""
    for name in ("alice", "bob", "misfit"):
        worker.change(writes.create(NewTask(id=name, name="add", owner="alice", tenant="acme")), upsert=True)
    tasks.update_one({"_id": "misfit"}, {"$unset": {fields.ATTEMPTS: 1}}, bypass_document_validation=True)
    monkeypatch.setattr("gql_api.app.ShortPath", NoShortPath)
    front.app.state.services = replace(front.services, authenticator=ByName())
    long = create_app(settings)
    long.state.services = front.services
    caplog.set_level(logging.INFO)
    return Sides([front.app, long], tasks.database[AUDIT_LOG], caplog)


async def test_answers_log_lines_counters_and_audit_are_those_of_the_view(sides: Sides) -> None:
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


async def test_what_is_no_request_is_refused_as_by_the_view(sides: Sides) -> None:
    """The bodies that are not JSON, not an object, or in another encoding of Unicode."""
    request = '{"query": "{ __typename }"}'
    bodies = [
        *(b"", b"{", b"[]", b"5", b'"text"', b'{"query": NaN}', b'{"query": "\\ud800"}', b"\xff" * 20, b"[" * 5000),
        *(request.encode("utf-16"), f"\ufeff{request}".encode(), f"{request} x".encode()),
        b'{"query": "{ __typename }", "query": "{ viewer { subject } }"}',
    ]
    for body in bodies:
        await sides.compare(body, {"content-type": "application/json", "authorization": "Bearer admin"})


async def test_an_ordinary_request_does_not_reach_the_view(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    ("error", "code", "log"),
    [
        (NoSlotError("Too many lists"), "OVERLOADED", []),
        (NoSlotError("Too many lists", ("list slots of a principal", 1)), "QUOTA_EXCEEDED", []),
        (ServerSelectionTimeoutError("away"), "SERVICE_UNAVAILABLE", ["MongoDB does not answer: away"]),
        (ZeroDivisionError("a secret"), "INTERNAL_SERVER_ERROR", ["Unexpected error ?"]),
    ],
    ids=["overloaded", "over a quota", "outage", "unexpected"],
)
async def test_failures_are_answered_and_logged_as_by_the_view(
    sides: Sides, front: Front, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, log: list[str]
) -> None:
    """A refusal says when to retry, and what nobody expected is masked and logged under an id."""
    headers = {"content-type": "application/json", "authorization": "Bearer admin"}
    body = json.dumps({"query": _GET, "variables": {"id": "alice"}}).encode()
    await sides.send(sides.short, body, headers)
    # As the only root field, which may be null, and below a list, which may not.
    monkeypatch.setattr(front.services.store.partial, "load", AsyncMock(side_effect=error))
    monkeypatch.setattr(front.services.store.lists, "part_of_page", AsyncMock(side_effect=error))
    for query in (body, json.dumps({"query": _PAGE}).encode()):
        answer = await sides.compare(query, headers)
        assert f'"code":"{code}"' in answer.body
        assert answer.log[:-1] == log
        assert "secret" not in answer.body


async def test_operations_have_their_names_in_reports_of_blocks(
    sides: Sides, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task of a request has the name of its operation on both sides."""
    names = []

    async def load(*_arguments: object) -> None:
        names.append(cast("asyncio.Task[None]", asyncio.current_task()).get_name())

    monkeypatch.setattr(front.services.store.partial, "load", load)
    body = json.dumps({"query": _GET, "variables": {"id": "alice"}, "operationName": "Get"}).encode()
    for side in (sides.long, sides.short):
        label_task("something else")
        await sides.send(side, body, {"content-type": "application/json", "authorization": "Bearer admin"})
    assert names == ["operation Get"] * 2


async def test_large_bodies_are_parsed_once(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """The view answers them, documents that are known too."""
    query = {"query": "{ viewer { subject } }"}
    body = json.dumps({**query, "variables": {"more": "x" * 100_000}}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer admin"}
    assert (await sides.compare(json.dumps(query).encode(), headers)) == await sides.compare(body, headers)
    monkeypatch.setattr(short_path, "_call", None)
    await sides.send(sides.short, body, headers)


async def test_a_query_of_a_client_that_disconnects_is_cancelled(
    sides: Sides, front: Front, monkeypatch: pytest.MonkeyPatch
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
