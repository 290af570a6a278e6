"""Apollo's automatic persisted queries, which the API does not keep: clients have to notice, and send the document."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx
import plain_http
import pytest
from support import Api
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect
from websockets.typing import Subprotocol

_DOCUMENT = "{ __typename }"
_EXTENSIONS = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(_DOCUMENT.encode()).hexdigest()}}
_REFUSAL = {"message": "PersistedQueryNotSupported", "extensions": {"code": "PERSISTED_QUERY_NOT_SUPPORTED"}}
_JSON = "application/json"
_RESPONSE_JSON = "application/graphql-response+json"


def _by_get(api: Api, accept: str, parameters: dict[str, Any]) -> httpx.Response:
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    return plain_http.get(api.graphql, params=query, headers={"Accept": accept})


def _by_post(api: Api, accept: str, parameters: dict[str, Any]) -> httpx.Response:
    return plain_http.post(api.graphql, json=parameters, headers={"Accept": accept})


@pytest.mark.parametrize("ask", [_by_get, _by_post])
@pytest.mark.parametrize(("accept", "status"), [(_JSON, 200), (_RESPONSE_JSON, 400)])
def test_a_hash_without_a_document_has_the_error_that_clients_know(
    api: Api, ask: Any, accept: str, status: int
) -> None:
    """The client receives the code and the message of Apollo's protocol, and its next request is executed."""
    for nothing in ({}, {"query": ""}, {"operationName": "A", "variables": {}}):
        refused = ask(api, accept, {**nothing, "extensions": _EXTENSIONS})
        assert (refused.status_code, refused.json()) == (status, {"errors": [_REFUSAL]})
    executed = ask(api, accept, {"query": _DOCUMENT, "extensions": _EXTENSIONS})
    assert (executed.status_code, executed.json()) == (200, {"data": {"__typename": "Query"}})


@pytest.mark.parametrize("ask", [_by_get, _by_post])
def test_an_event_stream_reports_a_hash_without_a_document(api: Api, ask: Any) -> None:
    """The refusal is the only result of the stream."""
    answer = ask(api, "text/event-stream", {"extensions": _EXTENSIONS})
    assert answer.text.count("data: {") == 1
    assert json.dumps({"errors": [_REFUSAL]}, separators=(",", ":")) in answer.text


@pytest.mark.parametrize("extensions", [{}, {"persistedQuery": None}, {"other": {"version": 1}}])
def test_other_extensions_do_not_replace_a_document(api: Api, extensions: dict[str, Any]) -> None:
    """A request without a document and without a hash is a bad request, as before."""
    answer = _by_post(api, _JSON, {"extensions": extensions})
    assert answer.status_code == 400
    assert "code" not in answer.text


def test_a_socket_reports_a_hash_without_a_document(api: Api) -> None:
    """The operation fails and the socket stays open; with its document it is executed under the same id."""
    with connect(api.websocket, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:

        def ask(payload: dict[str, Any]) -> dict[str, Any]:
            socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
            answer: dict[str, Any] = json.loads(socket.recv(timeout=30))
            return answer

        socket.send('{"type": "connection_init"}')
        assert json.loads(socket.recv(timeout=30))["type"] == "connection_ack"
        for nothing in ({}, {"query": ""}, {"query": None}):
            refused = ask({**nothing, "extensions": _EXTENSIONS})
            assert refused == {"type": "error", "id": "1", "payload": [_REFUSAL]}
        executed = ask({"query": _DOCUMENT, "extensions": _EXTENSIONS})
        assert executed["payload"] == {"data": {"__typename": "Query"}}


def test_a_hash_before_the_handshake_closes_the_socket(api: Api) -> None:
    """A client that has not sent connection_init is not answered."""
    with connect(api.websocket, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"extensions": _EXTENSIONS}}))
        with pytest.raises(ConnectionClosedError):
            socket.recv(timeout=30)
        assert socket.close_code == 4401
