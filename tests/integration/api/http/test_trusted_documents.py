"""With trusted documents, clients run the documents of the file and no others, over every protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import get_introspection_query
from sockets import socket_of
from starlette.applications import Starlette
from support import ROOT
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from gql_api.api.pages import files
from gql_api.app import create_app, open_services
from gql_api.settings import Settings, SettingsError

pytestmark = pytest.mark.usefixtures("prepared")

_LIST = "query List { tasks(first: 1) { nodes { id } } }"
_CHANGES = "subscription Changes { taskUpdated(id: 1) { id } }"
_HASH = hashlib.sha256(_LIST.encode()).hexdigest()
_OTHER = "query List { tasks(first: 2) { nodes { id } } }"
_EMPTY: dict[str, Any] = {"data": {"tasks": {"nodes": []}}}
_BY_HASH = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": _HASH}}}
_TRUSTED: list[dict[str, Any]] = [
    {"documentId": "list"},
    {"documentId": _HASH},
    {"documentId": f"sha256:{_HASH}"},
    _BY_HASH,
    {"query": _LIST},
    {"query": _LIST, **_BY_HASH},
]
_UNTRUSTED: list[dict[str, Any]] = [
    {"documentId": "other"},
    {"documentId": f"sha256:{'0' * 64}"},
    {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
    {"extensions": {"persistedQuery": "list"}},
    {"query": _OTHER},
    {"query": _OTHER, "documentId": "list"},
    {"query": _OTHER, **_BY_HASH},
    {"query": "{ __typename tasks { nodes { id } } }"},
    {"query": "mutation { deleteTasks(filter: {}) { changed } }"},
    {"query": "subscription { taskChanges { kind } }"},
    {"query": "{ unfinished"},
]
_OF_BOARD: list[dict[str, Any]] = [{"query": _LIST}, {"query": _OTHER}, {"documentId": _HASH}]


def _file(folder: Path, content: object) -> Path:
    path = folder / "documents.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
async def app(settings: Settings, tmp_path: Path) -> AsyncIterator[Starlette]:
    """An API that trusts two documents."""
    path = _file(tmp_path, {"list": _LIST, "changes": _CHANGES})
    trusting = settings.model_copy(update={"trusted_documents": path})
    app = create_app(trusting)
    async with open_services(trusting) as services:
        app.state.services = services
        yield app


def _code(answer: dict[str, Any]) -> str:
    (error,) = answer["errors"]
    code: str = error["extensions"]["code"]
    return code


async def test_only_trusted_documents_run_over_http(app: Starlette) -> None:
    """A request by POST, by GET or for a stream runs what the file has, by any id or by its text."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for request in _TRUSTED:
            query = {name: each if isinstance(each, str) else json.dumps(each) for name, each in request.items()}
            assert (await client.post("/graphql", json=request)).json() == _EMPTY
            assert (await client.get("/graphql", params=query)).json() == _EMPTY
        for request in _UNTRUSTED:
            assert _code((await client.post("/graphql", json=request)).json()) == "DOCUMENT_NOT_TRUSTED"
            stream = await client.post("/graphql", json=request, headers={"Accept": "text/event-stream"})
            (line,) = [line for line in stream.text.splitlines() if line.startswith("data: {")]
            assert _code(json.loads(line.removeprefix("data: "))) == "DOCUMENT_NOT_TRUSTED"
        accept = {"Accept": "application/graphql-response+json"}
        assert (await client.post("/graphql", json=_UNTRUSTED[0], headers=accept)).status_code == 400
        stream = await client.post("/graphql", json={"documentId": "changes"}, headers={"Accept": "text/event-stream"})
        assert "NOT_FOUND" in stream.text


async def test_only_trusted_documents_run_over_a_socket(app: Starlette) -> None:
    """An operation that is refused has an error message, and the socket stays open."""
    async with (
        socket_of(app) as port,
        connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=[Subprotocol("graphql-transport-ws")]) as socket,
    ):

        async def ask(payload: dict[str, Any]) -> dict[str, Any]:
            await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
            answer: dict[str, Any] = json.loads(await socket.recv())
            return answer

        await socket.send('{"type": "connection_init"}')
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        for request in _TRUSTED:
            assert (await ask(request))["payload"] == _EMPTY
            assert json.loads(await socket.recv())["type"] == "complete"
        for request in _UNTRUSTED:
            answer = await ask(request)
            assert (answer["type"], _code({"errors": answer["payload"]})) == ("error", "DOCUMENT_NOT_TRUSTED")
        assert _code((await ask({"documentId": "changes"}))["payload"]) == "NOT_FOUND"


async def test_introspection_and_the_rest_routes_need_no_trust(app: Starlette) -> None:
    """Tools can read the schema, and the REST routes run documents of their own."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.post("/graphql", json={"query": get_introspection_query()})
        assert answer.json()["data"]["__schema"]
        assert (await client.get("/tasks")).json() == []


@pytest.mark.parametrize("has_board", [True, False])
async def test_the_documents_of_the_board_are_trusted_while_it_is_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_board: bool
) -> None:
    """Their exact texts run, without an id; one that exceeds a limit is an error of its own, and the API starts."""
    monkeypatch.setattr(files, "FOLDER", tmp_path)
    costly = "{ tasks(first: 500) { nodes { children(first: 500) { nodes { id } } } } }"
    (tmp_path / "trusted-documents.json").write_text(json.dumps({_HASH: _LIST, "b": costly}))
    trusting = {"trusted_documents": _file(tmp_path, {"changes": _CHANGES}), "dashboard": has_board}
    app = create_app(settings.model_copy(update=trusting))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        answers = [(await client.post("/graphql", json=each)).json() for each in _OF_BOARD]
        exceeding = (await client.post("/graphql", json={"query": costly})).json()
    assert answers[0] == _EMPTY if has_board else _code(answers[0]) == "DOCUMENT_NOT_TRUSTED"
    assert {_code(answer) for answer in answers[1:]} == {"DOCUMENT_NOT_TRUSTED"}
    assert _code(exceeding) == ("LIMIT_EXCEEDED" if has_board else "DOCUMENT_NOT_TRUSTED")


async def test_the_manifest_of_apollo_is_read(settings: Settings, tmp_path: Path) -> None:
    """The ids of Apollo's file lead to the bodies of its operations."""
    operation = {"id": "a1", "name": "List", "type": "query", "body": _LIST}
    manifest = {"format": "apollo-persisted-query-manifest", "version": 1, "operations": [operation]}
    trusting = settings.model_copy(update={"trusted_documents": _file(tmp_path, manifest)})
    async with open_services(trusting) as services:
        assert services.documents.requested(None, None, "a1") == _LIST


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "cannot read"),
        ("[" * 100_000, "cannot read"),
        ("[]", "must be a JSON object"),
        ({}, "has no documents"),
        ({"a": 1}, "must be a text"),
        ({"operations": [{"id": "a"}]}, "must be a text"),
        ({"a": "{ unknown }"}, "the document 'a' cannot be run: Cannot query field 'unknown'"),
        ({"a": "{ unfinished"}, "the document 'a' cannot be run: Syntax Error"),
        ({"a": "{ tasks(first: 500) { nodes { children(first: 500) { nodes { id } } } } }"}, "cost 1,257,510, at most"),
    ],
)
def test_a_file_that_cannot_work_is_one_line(settings: Settings, tmp_path: Path, content: object, problem: str) -> None:
    """The API does not start, and the error names the variable and the document."""
    trusting = settings.model_copy(update={"trusted_documents": _file(tmp_path, content)})
    with pytest.raises(SettingsError, match=r"\ATRUSTED_DOCUMENTS: [^\n]+\Z") as refused:
        create_app(trusting)
    assert problem in str(refused.value)


@pytest.mark.parametrize("command", [["uvicorn", "gql_api.app:app", "--port=1"], ["gql_api", "serve"]])
def test_a_missing_file_ends_the_process_with_one_line(command: list[str], tmp_path: Path) -> None:
    """Each server prints the same line and no traceback."""
    missing = str(tmp_path / "missing.json")
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TRUSTED_DOCUMENTS": missing},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: TRUSTED_DOCUMENTS: cannot read {missing}")
