"""graphql-transport-ws, frame by frame: the close code of everything that the protocol does not define.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port
from support import Api, process, wait_until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

_PROTOCOL = Subprotocol("graphql-transport-ws")
_INIT = '{"type": "connection_init"}'
_QUERY = {"query": "{ __typename }"}


@pytest.fixture(scope="module", params=["uvicorn", "gql-api serve"])
def served(
    request: pytest.FixtureRequest, api: Api, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """Yield the API of both commands, whose WebSocket implementations differ."""
    if request.param == "uvicorn":
        yield api
        return
    served = Api(f"http://127.0.0.1:{free_port()}", tmp_path_factory.mktemp("served") / "log", api.worker_log)
    command = [sys.executable, "-m", "gql_api", "serve", f"--port={served.url.rpartition(':')[2]}"]
    # A busy machine may not handle the first frame within the default time.
    with process(command, served.log, {**environment, "CONNECTION_INIT_SECONDS": "60"}):
        wait_until(served.is_ready, 60)
        yield served


def _subscribe(payload: object = _QUERY, **rest: object) -> str:
    return json.dumps({"type": "subscribe", "id": "1", "payload": payload, **rest})


_NO_JSON = [
    "", " ", "{", "nonsense", "{'type': 'ping'}", '{"type": "ping"', '{"type": "ping"}{}', "NaN", '{"type": NaN}',
    "\ufeff" + _INIT, "[" * 30_000, '{"a":' * 10_000, "9" * 10_000,
]  # fmt: skip
_NO_MESSAGE = [
    "null", "true", "1", "1.5", '"connection_init"', "[]", f"[{_INIT}]", "{}", '{"id": "1"}', '{"Type": "ping"}',
    '{"type": null}', '{"type": 1}', '{"type": []}', '{"type": {}}', '{"type": ""}', '{"type": "PING"}',
    '{"type": "start"}', '{"type": "stop"}', '{"type": "connection_terminate"}', '{"type": "connection_ack"}',
    '{"type": "next", "id": "1", "payload": {}}', '{"type": "error", "id": "1", "payload": []}',
]  # fmt: skip
_BAD_FIELDS = [
    '{"type": "ping", "payload": 1}', '{"type": "ping", "payload": []}', '{"type": "pong", "payload": "x"}',
    '{"type": "complete"}', '{"type": "complete", "id": null}', '{"type": "complete", "id": 1}',
    '{"type": "complete", "id": ""}', '{"type": "complete", "id": ["1"]}', '{"type": "complete", "id": {}}',
    json.dumps({"type": "subscribe", "payload": _QUERY}), json.dumps({"type": "subscribe", "id": "1"}),
    _subscribe(id=None), _subscribe(id=1), _subscribe(id=""), _subscribe(id=["1"]), _subscribe(id={}),
    _subscribe(None), _subscribe([]), _subscribe("{ __typename }"), _subscribe({}), _subscribe({"query": None}),
    _subscribe({"query": 1}), _subscribe({"query": ["{ __typename }"]}), _subscribe({**_QUERY, "variables": []}),
    _subscribe({**_QUERY, "variables": "{}"}), _subscribe({**_QUERY, "operationName": 1}),
    _subscribe({**_QUERY, "operationName": {}}), _subscribe({**_QUERY, "extensions": []}),
]  # fmt: skip
_BAD_INITS = [
    '{"type": "connection_init", "payload": 1}', '{"type": "connection_init", "payload": []}',
    '{"type": "connection_init", "payload": "token"}',
]  # fmt: skip


async def _close_code(socket: ClientConnection, *frames: str | bytes) -> int | None:
    """Send frames, wait for the server to close, and return its code."""
    for frame in frames:
        await socket.send(frame)
    await asyncio.wait_for(socket.wait_closed(), 30)
    return socket.close_code


@pytest.mark.parametrize("frame", [*_NO_JSON, *_NO_MESSAGE, *_BAD_FIELDS, b"binary", _INIT.encode(), b""], ids=repr)
async def test_a_bad_frame_is_a_bad_request(served: Api, frame: str | bytes) -> None:
    """A frame that is not a message of the protocol closes the socket with 4400."""
    async with connect(served.websocket, subprotocols=[_PROTOCOL]) as socket:
        await socket.send(_INIT)
        assert json.loads(await socket.recv()) == {"type": "connection_ack"}
        assert await _close_code(socket, frame) == 4400
    assert "Traceback" not in served.log.read_text()


@pytest.mark.parametrize("frame", [*_NO_JSON, *_NO_MESSAGE, *_BAD_INITS, b"binary"], ids=repr)
async def test_a_bad_first_frame_is_a_bad_request(served: Api, frame: str | bytes) -> None:
    """The same is true before the connection is acknowledged."""
    async with connect(served.websocket, subprotocols=[_PROTOCOL]) as socket:
        assert await _close_code(socket, frame) == 4400


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([_subscribe()], 4401),
        ([_subscribe({"query": 'subscription { taskUpdated(id: "x") { id } }'})], 4401),
        ([_INIT, _INIT], 4429),
        ([_INIT, _subscribe(), _INIT], 4429),
        (['{"type": "ping"}', '{"type": "pong"}', '{"type": "complete", "id": "1"}', _subscribe()], 4401),
    ],
    ids=["subscribe first", "join first", "init twice", "init again", "subscribe without init"],
)
async def test_messages_come_in_their_order(served: Api, frames: list[str], code: int) -> None:
    """connection_init has to come once, and before all operations."""
    async with connect(served.websocket, subprotocols=[_PROTOCOL]) as socket:
        assert await _close_code(socket, *frames) == code


@pytest.fixture(params=["uvicorn gql_api.app:app", "gql_api serve"])
def impatient(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Iterator[Api]:
    """Yield an API by either command that waits for the first message for two seconds only."""
    port = free_port()
    impatient = Api(f"http://127.0.0.1:{port}", tmp_path / "log", tmp_path / "none")
    command = [sys.executable, "-m", *request.param.split(), f"--port={port}"]
    with process(command, impatient.log, {**environment, "CONNECTION_INIT_SECONDS": "2"}):
        wait_until(impatient.is_ready, 60)
        yield impatient


async def test_the_first_message_comes_in_time(impatient: Api) -> None:
    """Without connection_init a socket is closed after a while, also one that sends pings."""
    async with (
        connect(impatient.websocket, subprotocols=[_PROTOCOL]) as silent,
        connect(impatient.websocket, subprotocols=[_PROTOCOL]) as pinging,
    ):
        codes = set(await asyncio.gather(_close_code(silent), _close_code(pinging, '{"type": "ping"}')))
    assert codes == {4408}


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "alone"])
async def test_an_id_is_used_once(served: Api, shared: bool) -> None:
    """An id that is in use closes the socket with 4409; it is free again when its operation is complete."""
    task_id = served.create("task_modules.add", args=[1], delaySeconds=3600)
    field = "taskUpdated" if shared else "taskLogged"
    watch = _subscribe({"query": f'subscription {{ {field}(id: "{task_id}") {{ __typename }} }}'})
    done = '{"type": "complete", "id": "1"}'
    async with connect(served.websocket, subprotocols=[_PROTOCOL]) as socket:
        assert await _close_code(socket, _INIT, watch, done, watch, watch) == 4409


async def _answer(socket: ClientConnection) -> str | int | None:
    """Return the type of the first message after the acknowledgement, or the close code."""
    try:
        while (answer := json.loads(await asyncio.wait_for(socket.recv(), 20))["type"]) == "connection_ack":
            pass
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code
    return str(answer)


async def test_however_deep_a_value_is_nested_there_is_an_answer(served: Api) -> None:
    """Values at the limit of the parser exceed ours, or are rejected with 4400: no socket is lost without a reason."""
    query = "subscription ($id: ID!) { taskUpdated(id: $id) { id } }"
    answers = set()
    for depth in range(450, 550):
        payload = f'{{"query": "{query}", "variables": {{"id": "x", "v": {"[" * depth}{"]" * depth}}}}}'
        async with connect(served.websocket, subprotocols=[_PROTOCOL]) as socket:
            await socket.send(_INIT)
            await socket.send(f'{{"type": "subscribe", "id": "1", "payload": {payload}}}')
            answers.add(await _answer(socket))
    assert answers == {"error", 4400}
    assert "Traceback" not in served.log.read_text()


@pytest.mark.parametrize("field", ["taskUpdated", "taskLogged"], ids=["shared", "alone"])
async def test_a_connection_has_fifty_operations_at_most(served: Api, field: str) -> None:
    """One operation more gets an error; when another one has ended it is accepted."""
    task_id = served.create("task_modules.add", args=[1], delaySeconds=3600)
    watch = json.loads(_subscribe({"query": f'subscription {{ {field}(id: "{task_id}") {{ __typename }} }}'}))
    # Messages that the test does not take must not keep the library from reading the end of the closing handshake.
    async with connect(served.websocket, subprotocols=[_PROTOCOL], max_queue=None) as socket:
        await socket.send(_INIT)
        for number in range(51):
            await socket.send(json.dumps({**watch, "id": str(number)}))
        while (answer := json.loads(await asyncio.wait_for(socket.recv(), 20)))["type"] != "error":
            assert answer["type"] in {"connection_ack", "next"}
        (error,) = answer["payload"]
        assert (answer["id"], error["message"]) == ("50", "operations per socket 51, at most 50")
        assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
        await socket.send('{"type": "complete", "id": "7"}')
        await socket.send(json.dumps({**watch, "id": "50"}))
        await socket.send('{"type": "ping"}')
        while (answer := json.loads(await asyncio.wait_for(socket.recv(), 20)))["type"] != "pong":
            assert answer["type"] == "next"


@pytest.mark.parametrize("subprotocols", [None, ["graphql-ws"], ["unknown"]], ids=repr)
async def test_no_other_subprotocol_is_spoken(served: Api, subprotocols: list[Subprotocol] | None) -> None:
    """A client without graphql-transport-ws, the legacy protocol included, is closed with 4406."""
    async with connect(served.websocket, subprotocols=subprotocols) as socket:
        assert await _close_code(socket) == 4406


@pytest.mark.parametrize("served", ["gql-api serve"], indirect=True)
async def test_a_frame_is_no_larger_than_an_operation(served: Api) -> None:
    """A frame of more than 64 KiB closes the socket with 1009."""
    async with connect(served.websocket, subprotocols=[_PROTOCOL]) as socket:
        assert await _close_code(socket, _INIT, " " * 70_000) == 1009


@pytest.mark.parametrize(
    "frame",
    [
        '{"type": "ping"}', '{"type": "ping", "payload": null}', '{"type": "ping", "payload": {"a": 1}}',
        '{"type": "ping", "unknown": 1}',
    ],
)  # fmt: skip
async def test_a_ping_is_answered(served: Api, frame: str) -> None:
    """A pong follows each ping, also before connection_init, with a payload or without."""
    async with connect(served.websocket, subprotocols=[_PROTOCOL]) as socket:
        for _ in range(2):
            await socket.send(frame)
            assert json.loads(await socket.recv())["type"] == "pong"


@pytest.mark.parametrize("payload", ["null", "{}", '{"token": "x"}'])
async def test_the_payload_of_the_first_message_is_free(served: Api, payload: str) -> None:
    """The connection is acknowledged whatever the payload."""
    async with connect(served.websocket, subprotocols=[_PROTOCOL]) as socket:
        await socket.send(f'{{"type": "connection_init", "payload": {payload}}}')
        assert json.loads(await socket.recv()) == {"type": "connection_ack"}


@pytest.mark.parametrize("name", [None, "Unknown"])
@pytest.mark.parametrize(
    "query",
    [
        "", "{", "{ nothing }", "{ nothing " + "é" * 200 + " }", "subscription { nothing }",
        "fragment A on Query { id }", "subscription { taskUpdated { id } }",
        "query A { __typename } query B { __typename }",
        "{ __typename } " * 2, "[" * 3000,
    ],
    ids=lambda query: query[:40],
)  # fmt: skip
async def test_a_bad_document_is_an_error_of_its_operation(served: Api, query: str, name: str | None) -> None:
    """It ends its own operation with ``error`` only; the socket serves the next one."""
    async with connect(served.websocket, subprotocols=[_PROTOCOL]) as socket:
        await socket.send(_INIT)
        await socket.recv()
        await socket.send(_subscribe({"query": query, "operationName": name}))
        answer = json.loads(await socket.recv())
        assert (answer["type"], answer["id"]) == ("error", "1")
        assert answer["payload"][0]["message"]
        await socket.send(_subscribe())
        assert json.loads(await socket.recv())["type"] == "next"
        assert json.loads(await socket.recv()) == {"type": "complete", "id": "1"}
