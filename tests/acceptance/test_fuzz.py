"""Random input of every kind that clients send: no server error, no dead process, and the next request is answered."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import httpx
import plain_http
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ports import free_port
from strategies import JSON_VALUES, OBJECTS
from support import Api, process, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

# The same examples in each run: a new failure is a new fault.
_FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_SERVER_ERRORS = 500
# The close codes of a fault of the server, and of a connection that ended without a close frame.
_NO_CODE = 1006
_FAULTS = {_NO_CODE, 1011}
_LAST = '{"type": "subscribe", "id": "last", "payload": {"query": "{ __typename }"}}'
_TYPES = st.sampled_from(["application/json", "application/json; charset=utf-16", "text/plain", "", "a/b/c", "é"])
_TEXT = st.text(st.characters(exclude_categories=[]), max_size=40)
_NAMES = ["query", "variables", "operationName", "extensions"]
_QUERIES = st.sampled_from(["{ __typename }", "{ tasks { nodes { id } } }", "query ($a: ID!) { task(id: $a) { id } }"])
_REQUESTS = st.dictionaries(st.sampled_from(_NAMES) | _TEXT, _QUERIES | JSON_VALUES, max_size=5)
_BODIES = st.binary(max_size=200) | (_REQUESTS | JSON_VALUES).map(lambda value: json.dumps(value).encode())
_METHODS = st.sampled_from(["POST", "GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
_PATHS = st.sampled_from(["/graphql", "/create-task", "/tasks", "/task/x", "/task/%00", "/nothing", "/graphql/"])
_FRAME_TYPES = st.sampled_from(["connection_init", "subscribe", "complete", "ping", "pong", "next", ""])
_FRAMES = (
    st.binary(max_size=60)
    | _TEXT.map(lambda text: text.encode("utf-8", "replace").decode())
    | st.fixed_dictionaries(
        {"type": _FRAME_TYPES | JSON_VALUES},
        optional={"id": st.sampled_from(["1", "2"]) | JSON_VALUES, "payload": _REQUESTS | JSON_VALUES},
    ).map(json.dumps)
)
_INPUT_FIELDS = [
    *("name", "args", "kwargs", "metadata", "scheduledFor", "delaySeconds", "expiresInSeconds", "timeLimitSeconds"),
    *("queue", "priority", "parentId", "idempotencyKey"),
]
_INPUTS = st.dictionaries(
    st.sampled_from(_INPUT_FIELDS),
    JSON_VALUES | st.sampled_from(["demo.add", "celery", 10**30, "2026-13-45T99:99:99Z", -1, 1e308]),
    max_size=6,
)
_FILTER_FIELDS = [
    *("ids", "names", "statuses", "queues", "metadata", "createdAt", "finishedAt", "updatedAt", "parentId"),
    *("AND", "OR", "NOT"),
]
_OPERATORS = ["path", "eq", "ne", "in", "gt", "gte", "lt", "lte", "startsWith", "exists"]
_CONDITIONS = st.dictionaries(st.sampled_from(_OPERATORS), JSON_VALUES)
_FILTERS = st.recursive(
    st.dictionaries(
        st.sampled_from(_FILTER_FIELDS), JSON_VALUES | st.lists(_CONDITIONS, max_size=3) | st.lists(_TEXT), max_size=3
    ),
    lambda inner: st.dictionaries(st.sampled_from(["AND", "OR", "NOT"]), inner | st.lists(inner, max_size=3)),
    max_leaves=6,
)
_CURSORS = _TEXT | (JSON_VALUES.map(json.dumps) | _TEXT).map(
    lambda text: b64encode(text.encode("utf-8", "replace")).decode()
)
_LIST = """query ($filter: TaskFilter, $after: String, $before: String, $first: Int, $last: Int) {
  tasks(filter: $filter, after: $after, before: $before, first: $first, last: $last) { totalCount nodes { id } }
}"""
_CREATE = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { userErrors { message } } }"


@pytest.fixture(scope="module")
def served(api: Api, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Yield the API as ``gql-api serve`` runs it: uvicorn alone closes some handshakes without an answer."""
    port, log = free_port(), tmp_path_factory.mktemp("served") / "log"
    served = Api(f"http://127.0.0.1:{port}", log, api.worker_log)
    with process([sys.executable, "-m", "gql_api", "serve", f"--port={port}"], log, environment):
        wait_until(served.is_ready, 60)
        yield served


@pytest.fixture(autouse=True)
def _still_answers(served: Api) -> Iterator[None]:
    """Check after each test that the API answers an ordinary request, and has logged no traceback."""
    yield
    assert served.data("{ __typename }") == {"__typename": "Query"}
    assert "Traceback" not in served.log.read_text()


@pytest.fixture(scope="module")
def client(served: Api) -> Iterator[httpx.Client]:
    """Keep connections open, as most clients do."""
    with plain_http.Client(base_url=served.url, timeout=30) as client:
        yield client


@_FUZZ
@given(method=_METHODS, path=_PATHS, content_type=_TYPES, body=_BODIES)
def test_no_request_causes_a_server_error(
    client: httpx.Client, method: str, path: str, content_type: str, body: bytes
) -> None:
    """Any method, path, media type and body is answered with a status below 500."""
    answer = client.request(method, path, content=body, headers=[(b"Content-Type", content_type.encode())])
    assert answer.status_code < _SERVER_ERRORS, answer.text
    assert "Internal error" not in answer.text


@_FUZZ
@given(query=st.dictionaries(st.sampled_from([*_NAMES, "first", "after"]), _TEXT | _REQUESTS.map(json.dumps)))
def test_no_query_string_causes_a_server_error(client: httpx.Client, query: dict[str, str]) -> None:
    """GET requests with any parameters are answered with a status below 500."""
    parameters = {name: text.encode("utf-8", "replace") for name, text in query.items()}
    for path in ("/graphql", "/tasks"):
        answer = client.get(path, params=parameters)
        assert answer.status_code < _SERVER_ERRORS, answer.text
        assert "Internal error" not in answer.text


@_FUZZ
@given(frames=st.lists(_FRAMES, max_size=4), initialized=st.booleans())
def test_no_frame_ends_a_socket_without_a_reason(served: Api, frames: list[str | bytes], initialized: bool) -> None:
    """The query after any frames is answered, or the socket is closed with a code for the client's fault."""
    code = None
    with connect(served.websocket, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        try:
            for frame in ['{"type": "connection_init"}'] * initialized + [*frames, _LAST]:
                socket.send(frame)
            while json.loads(socket.recv(timeout=30)) != {"type": "complete", "id": "last"}:
                pass
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else _NO_CODE
    assert code not in _FAULTS, frames


@_FUZZ
@given(input_=_INPUTS | OBJECTS)
def test_no_input_of_a_task_causes_an_internal_error(served: Api, input_: dict[str, Any]) -> None:
    """``createTask`` accepts an input, or explains what is wrong with it."""
    assert "Internal error" not in json.dumps(served.post(_CREATE, input=input_))


@_FUZZ
@given(filter_=_FILTERS, after=st.none() | _CURSORS, before=st.none() | _CURSORS, first=st.none() | st.integers())
def test_no_list_causes_an_internal_error(
    served: Api, filter_: Any, after: str | None, before: str | None, first: int | None
) -> None:
    """Filters, cursors and page sizes of any shape give a page, or an error that explains itself."""
    body = served.post(_LIST, filter=filter_, after=after, before=before, first=first)
    assert "Internal error" not in json.dumps(body), body


@_FUZZ
@given(
    query=st.binary(max_size=30).map(bytes.hex),
    extra=st.dictionaries(
        st.sampled_from(
            ["Origin", "Accept", "Connection", "Sec-WebSocket-Protocol", "X-Forwarded-For", "Content-Length"]
        ),
        st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20),
    ),
)
def test_no_handshake_causes_a_server_error(served: Api, query: str, extra: dict[str, str]) -> None:
    """Headers of any content open a socket, or are refused with a status below 500."""
    status = None
    try:
        with connect(f"{served.websocket}?{query}", additional_headers=extra, open_timeout=20):
            pass
    except InvalidStatus as refused:
        status = refused.response.status_code
    except ConnectionClosed:
        pass
    assert status is None or status < _SERVER_ERRORS
