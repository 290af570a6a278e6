"""Bodies of requests: bounded, whatever their path and their transfer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import plain_http
import pytest
from support import served, wait_until_async

from gql_api.app import create_app, open_services
from gql_api.settings import Settings
from gql_api.telemetry.counters import LIMITS_EXCEEDED

pytestmark = pytest.mark.usefixtures("prepared")

_CREATE = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { userErrors { code } } }"
_HEAD = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_KB = 1024


@pytest.fixture(params=["httptools", "h11"])
async def port(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[int]:
    """Serve the API with small limits, under either of uvicorn's own HTTP protocols."""
    limits = {"body_max_bytes": 4 * _KB, "create_body_max_bytes": 16 * _KB, "bodies_max_bytes": 20 * _KB}
    limits["frame_max_bytes"] = 3 * _KB
    limited = settings.model_copy(update=limits)
    app = create_app(limited)
    async with open_services(limited) as services:
        app.state.services = services
        async with served(app, http=request.param) as port:
            yield port


async def _post(port: int, path: str, content: bytes | AsyncIterator[bytes]) -> httpx.Response:
    async with plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        return await client.post(path, content=content, headers={"Content-Type": "application/json"})


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _KB):
        yield content[start : start + _KB]


def _body(query: str, size: int, **more: Any) -> bytes:
    """Return a request of about this size whose document comes last, as some clients send it."""
    task = {"name": "add", "args": ["x" * size]}
    return json.dumps({"variables": {"input": task}, **more, "query": query}).encode()


@pytest.mark.parametrize("path", ["/graphql", "/create-task"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
async def test_a_body_over_the_limit_is_refused(port: int, path: str, is_chunked: bool) -> None:
    """The answer is a 413 with the limit, before the body is complete, and closes the connection."""
    content = _body(_CREATE, 40 * _KB)
    answer = await _post(port, path, _pieces(content) if is_chunked else content)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    (error,) = answer.json()["errors"]
    assert error["extensions"] | {"value": 0} == {
        "code": "LIMIT_EXCEEDED", "limit": "body bytes", "value": 0, "max": 16 * _KB
    }  # fmt: skip
    assert error["message"].endswith(", at most 16,384")


_ALIASED = _CREATE.replace("createTask(", "a: createTask(input: $input) { created } createTask(")


@pytest.mark.parametrize(
    ("query", "more", "status"),
    [
        (_CREATE, {}, 200),
        (_ALIASED, {}, 200),
        (f"query q {{ __typename }} {_CREATE.replace('mutation', 'mutation m')}", {"operationName": "m"}, 200),
        (f"query q {{ __typename }} {_CREATE.replace('mutation', 'mutation m')}", {"operationName": "q"}, 413),
        ("query ($input: CreateTaskInput) { __typename }", {}, 413),
        (_CREATE.replace("createTask(", "deleteTask(id: 1) { created } createTask("), {}, 413),
        ("mutation ($input: CreateTaskInput!) { ...f } fragment f on Mutation { __typename }", {}, 413),
        ("nonsense", {}, 413),
    ],
)
async def test_only_the_creation_of_tasks_has_a_larger_body(
    port: int, query: str, more: dict[str, Any], status: int
) -> None:
    """Arguments of tasks may be long; nothing else needs such a body."""
    answer = await _post(port, "/graphql", _body(query, 8 * _KB, **more))
    assert answer.status_code == status
    if status == 413:
        assert answer.json()["errors"][0]["extensions"]["max"] == 4 * _KB


async def test_bodies_of_all_requests_are_bounded_together(port: int) -> None:
    """While the process holds too many bytes, a further request is told when to try again."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_HEAD % (b"/graphql", 16 * _KB) + b" " * 15 * _KB)

    async def answer() -> httpx.Response | None:
        latest = await _post(port, "/graphql", _body(_CREATE, 8 * _KB))
        return latest if latest.status_code == expected else None

    expected = 503
    refused = await wait_until_async(answer)
    assert refused is not None
    assert refused.headers["retry-after"] == "1"
    (error,) = refused.json()["errors"]
    assert error["extensions"] == {"code": "OVERLOADED", "limit": "bodies", "retryAfter": 1}
    writer.close()
    expected = 200
    assert await wait_until_async(answer)


async def test_the_bodies_of_streams_are_not_held(port: int) -> None:
    """Streams that stay open take no room of the bodies of others, and their own bodies are small."""
    stream = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    watch = json.dumps({"query": "subscription { taskChanges { __typename } }", "variables": {"x": "y" * 2 * _KB}})
    async with (
        plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        contextlib.AsyncExitStack() as streams,
    ):
        for _ in range(12):
            opening = client.stream("POST", "/graphql", content=watch, headers=stream)
            assert (await streams.enter_async_context(opening)).status_code == 200
        assert (await _post(port, "/graphql", _body(_CREATE, 8 * _KB))).status_code == 200
        refused = await client.post("/graphql", content=watch + " " * _KB, headers=stream)
    assert refused.status_code == 413
    assert refused.json()["errors"][0]["extensions"]["max"] == 3 * _KB


async def test_a_stream_that_costs_too_much_is_counted_once(port: int) -> None:
    """Its only result is the error, and the counter rises by one."""
    children = "children(first: 500) { nodes { children(first: 500) { nodes { id } } } }"
    watch = {"query": f"subscription {{ taskChanges {{ task {{ {children} }} }} }}"}
    counter = LIMITS_EXCEEDED.labels("cost")._value  # noqa: SLF001 - the client library has no other way to read it
    before = counter.get()
    async with plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        answer = await client.post("/graphql", json=watch, headers={"Accept": "text/event-stream"})
    assert '"limit":"cost"' in answer.text
    assert counter.get() == before + 1


@pytest.mark.parametrize("path", [b"/graphql", b"/create-task"])
async def test_an_aborted_body_is_one_line(port: int, path: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A client that disconnects in the middle of its body leaves a line in the log, and no traceback."""

    def logged() -> list[logging.LogRecord]:
        # On a busy machine the watchdog may report that the event loop was slow.
        return [each for each in caplog.records if each.name != "gql_api.telemetry.watchdog"]

    with caplog.at_level("INFO", logger="gql_api"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_HEAD % (path, 1000) + b"x" * 10)
        writer.close()

        async def is_logged() -> bool:
            return bool(logged())

        await wait_until_async(is_logged)
    (record,) = logged()
    assert record.getMessage() == "A client disconnected before the end of its request's body, after 10 bytes"
    assert record.exc_info is None
