"""The recipe of docs/security.md: a backend that gives tokens for the tasks of one customer to browsers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import plain_http
import pytest
from ports import free_port
from support import ROOT, Api, process, wait_until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

_RECIPE = re.compile(r'^```python\n("""A backend that gives.*?)^```$', re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^gql-api (token create \"web backend\".*)$", re.MULTILINE)
_CREATE = """
mutation ($input: CreateTaskInput!) { createTask(input: $input) { task { id metadata } userErrors { code message } } }
"""
_LIST = '{ tasks { totalCount nodes { id metadata } facet(by: METADATA, metadataPath: "customer") { value count } } }'
_MINT = "mutation ($input: CreateAccessTokenInput!) { createAccessToken(input: $input) { token } }"
_WATCH = "subscription { taskChanges { kind taskId } }"
_PROTOCOL = Subprotocol("graphql-transport-ws")

Changes = list[tuple[str, str]]


@dataclass(frozen=True)
class _Site:
    """An API that requires tokens, a backend with one of them, and its token."""

    api: Api
    backend: str
    token: str

    def ask(self, token: str, query: str, **variables: Any) -> Any:
        """Run an operation with a token that must succeed."""
        body = {"query": query, "variables": variables}
        answer = plain_http.post(self.api.graphql, json=body, headers=_bearer(token), timeout=30).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def create(self, token: str, **input_: Any) -> dict[str, Any]:
        """Create a task with a token, and return the payload."""
        task_input = {"name": "long_running_task", "kwargs": {"task_input": 1, "seconds": 0}, **input_}
        payload: dict[str, Any] = self.ask(token, _CREATE, input=task_input)["createTask"]
        return payload

    def browser_token(self, customer: str) -> str:
        """Return the token that the backend gives to a customer."""
        answer = plain_http.post(f"{self.backend}/tasks-token", headers={"X-Customer": customer}).raise_for_status()
        return str(answer.json()["token"])


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def site(api: Api, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Site]:
    """The recipe as the docs print it, with the worker of the other tests."""
    folder: Path = tmp_path_factory.mktemp("recipe")
    page = (ROOT / "docs" / "security.md").read_text()
    (recipe,) = _RECIPE.findall(page)
    (command,) = _COMMAND.findall(page)
    (folder / "backend.py").write_text(recipe)
    env = {**environment, "ACCESS_SECRET": uuid.uuid4().hex}
    made = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m gql_api {command}"],  # noqa: S607 - as the docs print it
        capture_output=True,
        text=True,
        check=True,
        env={**env, "PATH": "/usr/bin:/bin"},
        cwd=ROOT,
    )
    token = made.stdout.strip()
    port, backend_port = free_port(), free_port()
    inner = Api(f"http://127.0.0.1:{port}", folder / "serve.log", api.worker_log)
    backend_env = {"TASKS_API": inner.graphql, "TASKS_API_TOKEN": token}
    backend = f"http://127.0.0.1:{backend_port}"
    with (
        process([sys.executable, "-m", "gql_api", "serve", f"--port={port}"], inner.log, env),
        process(
            [sys.executable, "-m", "uvicorn", "backend:app", f"--port={backend_port}"],
            folder / "backend.log",
            backend_env,
            folder,
        ),
    ):
        wait_until(inner.is_ready)
        wait_until(lambda: _answers(f"{backend}/docs"))
        yield _Site(inner, backend, token)


def _answers(url: str) -> bool:
    try:
        return plain_http.get(url).is_success
    except httpx.TransportError:
        return False


def test_a_browser_sees_the_tasks_of_its_customer(site: _Site) -> None:
    """A list, its count and its facet have exactly the tasks of the customer, and nobody gets in without a token."""
    customer, other = f"c-{uuid.uuid4().hex}", f"c-{uuid.uuid4().hex}"
    own = [site.create(site.token, metadata={"customer": customer})["task"]["id"] for _ in range(2)]
    foreign = site.create(site.token, metadata={"customer": other})["task"]["id"]
    browser = site.browser_token(customer)
    listed = site.ask(browser, _LIST)["tasks"]
    assert {node["id"] for node in listed["nodes"]} == set(own)
    assert listed["totalCount"] == 2
    assert listed["facet"] == [{"value": customer, "count": 2}]
    assert site.ask(browser, "query ($id: ID!) { task(id: $id) { id } }", id=foreign) == {"task": None}
    assert site.ask(browser, "query ($id: ID!) { task(id: $id) { id } }", id=own[0]) == {"task": {"id": own[0]}}
    for headers in ({}, _bearer(f"{browser}x"), _bearer("gqt_x")):
        answer = plain_http.post(site.api.graphql, json={"query": _LIST}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


def test_a_browser_creates_tasks_of_its_customer(site: _Site) -> None:
    """A task that a browser creates belongs to its customer, whatever the browser says, and has an allowed name."""
    customer = f"c-{uuid.uuid4().hex}"
    browser = site.browser_token(customer)
    created = site.create(browser, metadata={"note": "x"})
    assert created["task"]["metadata"] == {"customer": customer, "note": "x"}
    assert [node["id"] for node in site.ask(browser, _LIST)["tasks"]["nodes"]] == [created["task"]["id"]]
    overruled = site.create(browser, metadata={"customer": "other"})
    assert overruled["task"]["metadata"] == {"customer": customer}
    assert site.create(browser, name="task_modules.add", kwargs={"x": 1})["task"] is None
    names = site.ask(browser, "{ tasks { facet(by: NAME) { value } } }")["tasks"]["facet"]
    assert names == [{"value": "long_running_task"}]


@contextlib.contextmanager
def _by_socket(api: Api, token: str) -> Iterator[Changes]:
    changes: Changes = []
    with connect(api.websocket, subprotocols=[_PROTOCOL], additional_headers=_bearer(token)) as socket:
        socket.send('{"type": "connection_init"}')
        assert json.loads(socket.recv(timeout=10))["type"] == "connection_ack"
        socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": _WATCH}}))
        socket.send('{"type": "ping"}')
        # The pong comes when the subscription is open.
        assert json.loads(socket.recv(timeout=10))["type"] == "pong"

        def read() -> None:
            for message in socket:
                change = json.loads(message)["payload"]["data"]["taskChanges"]
                changes.append((change["kind"], change["taskId"]))

        reader = threading.Thread(target=read)
        reader.start()
        yield changes
        socket.close()
        reader.join()


@contextlib.contextmanager
def _by_stream(api: Api, token: str) -> Iterator[Changes]:
    changes: Changes = []
    is_open = threading.Event()
    headers = {**_bearer(token), "Accept": "text/event-stream"}

    def read() -> None:
        with contextlib.suppress(httpx.ReadError, httpx.RemoteProtocolError):
            for line in answer.iter_lines():
                is_open.set()
                if line.startswith("data:") and (data := line.removeprefix("data:").strip()):
                    change = json.loads(data)["data"]["taskChanges"]
                    changes.append((change["kind"], change["taskId"]))

    with (
        plain_http.Client(timeout=60) as client,
        client.stream("POST", api.graphql, json={"query": _WATCH}, headers=headers) as answer,
    ):
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert answer.status_code == 200
        yield changes


@pytest.mark.parametrize("watching", [_by_socket, _by_stream], ids=["socket", "stream"])
def test_a_browser_watches_the_tasks_of_its_customer(
    site: _Site, watching: Callable[[Api, str], contextlib.AbstractContextManager[Changes]]
) -> None:
    """A live list has the tasks of the customer from their creation to their end, and no others."""
    customer, other = f"c-{uuid.uuid4().hex}", f"c-{uuid.uuid4().hex}"
    with watching(site.api, site.browser_token(customer)) as changes:
        own = []
        for _ in range(3):
            site.create(site.token, metadata={"customer": other})
            own.append(site.create(site.token, metadata={"customer": customer})["task"]["id"])
        # The last one was created after all foreign ones, whose events would have come before its.
        wait_until(lambda: ("UPDATED", own[-1]) in changes, 20)
        assert {task_id for _, task_id in changes} <= set(own)
        wait_until(lambda: {task_id for kind, task_id in changes if kind == "UPDATED"} == set(own), 20)


def test_a_revocation_closes_the_sockets_of_browsers(site: _Site, environment: dict[str, str]) -> None:
    """The revocation of the backend's token ends what browsers do with their tokens."""
    command = [sys.executable, "-m", "gql_api", "token"]
    options = ["create", "x", "--subject", "shop", "--scopes", "TASKS_READ"]
    token = subprocess.run([*command, *options], capture_output=True, text=True, check=True, env=_env(environment))
    api_token = token.stdout.strip()
    minted = site.ask(api_token, _MINT, input={"scopes": ["TASKS_READ"]})["createAccessToken"]["token"]
    with connect(site.api.websocket, subprotocols=[_PROTOCOL], additional_headers=_bearer(minted)) as socket:
        socket.send('{"type": "connection_init"}')
        assert json.loads(socket.recv(timeout=10))["type"] == "connection_ack"
        revoke = [*command, "revoke", "_".join(api_token.split("_")[:2])]
        subprocess.run(revoke, check=True, env=_env(environment), capture_output=True)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403
    # The server may know a token for a moment after it has closed the socket: it asks about each on its own.
    wait_until(lambda: {_status(site, each) for each in (api_token, minted)} == {401}, why="both to be refused")


def _status(site: _Site, token: str) -> int:
    return plain_http.post(site.api.graphql, json={"query": _LIST}, headers=_bearer(token)).status_code


def _env(environment: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **environment}
