"""GraphQL over SSE and Apollo's multipart subscriptions, byte by byte."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import plain_http
import pytest
from redis import Redis
from support import Api, wait_until_async

EVENTS = {"Accept": "text/event-stream"}
PARTS = {"Accept": 'multipart/mixed;subscriptionSpec="1.0", application/json'}
WATCH = "subscription ($id: ID!) { taskUpdated(id: $id) { revision status result } }"


def _events(text: str) -> list[tuple[str, Any]]:
    """Parse an event stream as a browser does: blocks of lines, of which comments are not events."""
    fields = [re.findall(r"^(event|data): ?(.*)$", block, re.MULTILINE) for block in text.split("\n\n")]
    return [(event, json.loads(data) if data else None) for (_, event), (_, data) in filter(None, fields)]


def _parts(text: str) -> list[Any]:
    """Parse a multipart body by RFC 2046: the parts between its first boundary and its last."""
    first, *between, end = f"\r\n{text}".split("\r\n--graphql")
    assert (first, end) == ("", "--\r\n")
    heads, bodies = zip(*(part.split("\r\n\r\n") for part in between), strict=True)
    assert {head.strip() for head in heads} == {"Content-Type: application/json"}
    return [json.loads(body) for body in bodies]


def _watched(api: Api, method: str, headers: dict[str, str], task_id: str) -> httpx.Response:
    if method == "GET":
        parameters = {"query": WATCH, "variables": json.dumps({"id": task_id})}
        return plain_http.get(api.graphql, params=parameters, headers=headers, timeout=30)
    return plain_http.post(
        api.graphql, json={"query": WATCH, "variables": {"id": task_id}}, headers=headers, timeout=30
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_task_is_watched_by_events(api: Api, method: str) -> None:
    """Each state is an event ``next``, the last event is ``complete``, and proxies must not buffer or store them."""
    answer = _watched(api, method, EVENTS, api.create("task_modules.burst", args=[20]))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    *updates, last = _events(answer.text)
    assert last == ("complete", None)
    assert {event for event, _ in updates} == {"next"}
    revisions = [data["data"]["taskUpdated"]["revision"] for _, data in updates]
    assert revisions == sorted(set(revisions))
    assert updates[-1][1]["data"]["taskUpdated"]["status"] == "SUCCESS"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_task_is_watched_by_parts(api: Api, method: str) -> None:
    """Each state is a part with a payload; the end is the closing boundary."""
    answer = _watched(api, method, PARTS, api.create("task_modules.burst", args=[20]))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == 'multipart/mixed;boundary="graphql";subscriptionSpec=1.0'
    assert answer.headers["cache-control"] == "no-store, no-transform"
    payloads = [part["payload"]["data"]["taskUpdated"] for part in _parts(answer.text)]
    assert payloads[-1]["status"] == "SUCCESS"
    revisions = [payload["revision"] for payload in payloads]
    assert revisions == sorted(set(revisions))


@pytest.mark.parametrize(
    "accept",
    [
        [("Accept", 'multipart/mixed;boundary="a,b";subscriptionSpec="1.0"')],
        [("Accept", "application/json"), ("Accept", r'multipart/mixed;boundary="a\",;\"b";subscriptionSpec="1.0"')],
    ],
    ids=["quoted comma", "two headers"],
)
def test_quoted_strings_in_accept_are_understood(api: Api, accept: list[tuple[str, str]]) -> None:
    """A quoted comma, semicolon or quote does not end a media type, and several headers are one list."""
    body = {"query": WATCH, "variables": {"id": api.create("task_modules.add", args=[1])}}
    answer = plain_http.post(api.graphql, json=body, headers=accept, timeout=30)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "multipart/mixed")
    assert _parts(answer.text)[-1]["payload"]["data"]["taskUpdated"]["status"] == "SUCCESS"


def test_a_log_is_watched_by_events(api: Api) -> None:
    """A subscription that is not shared is streamed too: each line is an event."""
    task_id = api.create("task_modules.floods", args=[50])
    query = "subscription ($id: ID!) { taskLogged(id: $id) { __typename } }"
    answer = plain_http.post(api.graphql, json=_request(query, variables={"id": task_id}), headers=EVENTS, timeout=30)
    *lines, last = _events(answer.text)
    assert last == ("complete", None)
    assert len(lines) == 50


def _request(document: str, **rest: Any) -> dict[str, Any]:
    return {"query": document, **rest}


@pytest.mark.parametrize(
    ("request_", "has_data"),
    [
        (_request("{ __typename }"), True),
        (_request('mutation { deleteTask(id: "none") { userErrors { code } } }'), True),
        (_request("{ nothing }"), False),
        (_request("{ {"), False),
        (_request("subscription { nothing }"), False),
        (_request("query A { __typename } query B { __typename }"), False),
        (_request("query A { __typename }", operationName="B"), False),
        (_request("query ($n: Int!) { tasks(first: $n) { nodes { id } } }"), False),
        (_request(WATCH), False),
        (_request(WATCH, variables={"id": "unknown"}), False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_every_operation_goes_as_events(api: Api, request_: dict[str, Any], has_data: bool) -> None:
    """Queries, mutations and invalid operations are one event with the result or the errors, then the end."""
    answer = plain_http.post(api.graphql, json=request_, headers=EVENTS)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    (event, result), end = _events(answer.text)
    assert (event, end) == ("next", ("complete", None))
    assert bool(result.get("data")) == has_data
    assert bool(result.get("errors")) != has_data


@pytest.mark.parametrize("headers", [EVENTS, PARTS], ids=["events", "parts"])
@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        ("{", "application/json", 400),
        ("[]", "application/json", 400),
        ("{}", "application/json", 400),
        ('{"query": 1}', "application/json", 400),
        ('{"query": "{ __typename }", "variables": []}', "application/json", 400),
        ("{ __typename }", "text/plain", 415),
    ],
)
def test_what_is_no_request_is_refused(
    api: Api, headers: dict[str, str], content: str, content_type: str, status: int
) -> None:
    """A request that is not GraphQL gets a 4xx in JSON, whatever the client accepts."""
    answer = plain_http.post(api.graphql, content=content, headers={**headers, "Content-Type": content_type})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_there_is_no_single_connection_mode(api: Api, method: str) -> None:
    """A reservation is rejected with a message and the allowed methods."""
    answer = plain_http.request(method, api.graphql)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert "distinct connections mode" in answer.text


@pytest.mark.parametrize("headers", [EVENTS, PARTS], ids=["events", "parts"])
def test_a_mutation_never_comes_by_get(api: Api, headers: dict[str, str]) -> None:
    """A GET changes nothing, whatever it accepts."""
    query = 'mutation { deleteTask(id: "none") { userErrors { code } } }'
    answer = plain_http.get(api.graphql, params={"query": query}, headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_subscription_without_a_stream_is_refused(api: Api) -> None:
    """A client that accepts neither format gets an error that names them."""
    answer = plain_http.post(api.graphql, json={"query": WATCH, "variables": {"id": "x"}})
    assert answer.status_code == 400
    assert "text/event-stream" in answer.json()["errors"][0]["message"]


def test_errors_come_in_the_payload_of_a_part(api: Api) -> None:
    """An invalid document and an unknown task are GraphQL errors, not errors of the transport."""
    invalid = plain_http.post(api.graphql, json={"query": "subscription { nothing }"}, headers=PARTS)
    unknown = _watched(api, "POST", PARTS, "unknown")
    for answer, message in ((invalid, "Cannot query field"), (unknown, "No task with id unknown")):
        (part,) = _parts(answer.text)
        assert message in part["payload"]["errors"][0]["message"]
        assert not part["payload"].get("data")


def test_a_query_is_answered_in_json_when_that_will_do(api: Api) -> None:
    """A client that names streams in every request still gets JSON for queries."""
    accept = "application/graphql-response+json, application/json, text/event-stream, multipart/mixed"
    answer = plain_http.post(api.graphql, json={"query": "{ __typename }"}, headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("application/graphql-response+json")
    assert answer.json() == {"data": {"__typename": "Query"}}


async def test_a_quiet_stream_gives_signs_of_life(api: Api, redis: Redis) -> None:
    """Heartbeats keep the connection open while the task does not change."""
    key = uuid.uuid4().hex
    task_id = api.create("task_modules.step_by_step", args=[key])

    async def read(headers: dict[str, str], heartbeat: bytes) -> None:
        body = {"query": WATCH, "variables": {"id": task_id}}
        received = b""
        async with (
            plain_http.AsyncClient(timeout=30) as client,
            client.stream("POST", api.graphql, json=body, headers=headers) as answer,
        ):
            async for chunk in answer.aiter_raw():
                received += chunk
                if received.endswith(heartbeat):
                    break
        assert b"taskUpdated" in received
        assert received.endswith(heartbeat)

    await asyncio.gather(read(EVENTS, b"\n\n:\n\n"), read(PARTS, b"\r\n\r\n{}\r\n--graphql"))
    redis.lpush(key, 0)


@pytest.mark.parametrize("headers", [EVENTS, PARTS], ids=["events", "parts"])
async def test_a_client_that_leaves_is_forgotten(api: Api, redis: Redis, headers: dict[str, str]) -> None:
    """When the client disconnects its operation ends at once, though the task does not."""
    key = uuid.uuid4().hex
    task_id = api.create("task_modules.step_by_step", args=[key])

    async def subscribed(count: int) -> bool:
        return len(redis.pubsub_channels(f"gql-api:*:task:{task_id}")) == count

    body = {"query": WATCH, "variables": {"id": task_id}}
    async with (
        plain_http.AsyncClient(timeout=30) as client,
        client.stream("POST", api.graphql, json=body, headers=headers) as answer,
    ):
        # Kept until the client leaves: httpx closes the connection when the iterator is collected.
        chunks = answer.aiter_raw()
        await anext(chunks)
        await wait_until_async(lambda: subscribed(1))
    # The task goes on for two minutes, and no heartbeat fails: only the disconnect can end the operation before.
    await wait_until_async(lambda: subscribed(0))
    assert not api.task(task_id)["isFinal"]
    redis.lpush(key, 0)


def test_a_client_that_reads_slowly_skips_what_is_old(api: Api, redis: Redis) -> None:
    """States that a slow client has not read are merged into the newest one, and it receives the last one."""
    key, bulk = uuid.uuid4().hex, "x" * 20_000
    task_id = api.create("task_modules.step_by_step", args=[key], metadata={"bulk": bulk})
    query = WATCH.replace("result", "progress { current } metadata").encode()
    content = json.dumps({"query": query.decode(), "variables": {"id": task_id}}).encode()
    host, _, port = api.url.removeprefix("http://").partition(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect((host, int(port)))
        client.sendall(
            b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
            b"Content-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (len(content), content)
        )
        assert client.recv(1)
        steps = 500
        redis.lpush(key, steps, 0)
        assert api.finished(task_id, 60)["progress"]["current"] == steps
        received = _read_all(client.recv)
    steps_received = [int(number) for number in re.findall(rb'"current":(\d+)', received)]
    assert steps_received == sorted(steps_received)
    assert steps_received[-1] == steps
    assert len(steps_received) < steps / 2
    assert b"event: complete" in received


def _read_all(recv: Callable[[int], bytes]) -> bytes:
    chunks = []
    while chunk := recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


async def test_many_stream_at_once(api: Api, redis: Redis) -> None:
    """A hundred streams of both formats on one task all receive its end."""
    key = uuid.uuid4().hex
    task_id = api.create("task_modules.step_by_step", args=[key])
    body = {"query": WATCH, "variables": {"id": task_id}}
    async with plain_http.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        answers = [
            asyncio.create_task(client.post(api.graphql, json=body, headers=(EVENTS, PARTS)[n % 2])) for n in range(100)
        ]
        await wait_until_async(lambda: _has_watchers(redis, task_id))
        redis.lpush(key, 0)
        for answer in await asyncio.gather(*answers):
            assert '"status":"SUCCESS"' in answer.text


async def _has_watchers(redis: Redis, task_id: str) -> bool:
    return bool(redis.pubsub_channels(f"gql-api:*:task:{task_id}"))
