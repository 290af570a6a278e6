"""The recipe of docs/security.md: a backend that gives tokens for the tasks of one customer to browsers."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import ROOT, Api, process, wait_until

from gql_api.cli.embedded_servers import free_port

_RECIPE = re.compile(r'^```python\n("""A backend that gives.*?)^```$', re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^gql-api (token create \"web backend\".*)$", re.MULTILINE)
_CREATE = """
mutation ($input: CreateTaskInput!) { createTask(input: $input) { task { id metadata } userErrors { code message } } }
"""
_LIST = '{ tasks { totalCount nodes { id metadata } facet(by: METADATA, metadataPath: "customer") { value count } } }'


@dataclass(frozen=True)
class _Site:
    """An API that requires tokens, a backend with one of them, and its token."""

    api: Api
    backend: str
    token: str

    def ask(self, token: str, query: str, **variables: Any) -> Any:
        """Run an operation with a token that must succeed."""
        body = {"query": query, "variables": variables}
        answer = httpx.post(self.api.graphql, json=body, headers=_bearer(token), timeout=30).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def create(self, token: str, **input_: Any) -> dict[str, Any]:
        """Create a task with a token, and return the payload."""
        task_input = {"name": "long_running_task", "kwargs": {"task_input": 1, "seconds": 0}, **input_}
        payload: dict[str, Any] = self.ask(token, _CREATE, input=task_input)["createTask"]
        return payload

    def browser_token(self, customer: str) -> str:
        """Return the token that the backend gives to a customer."""
        answer = httpx.post(f"{self.backend}/tasks-token", headers={"X-Customer": customer}).raise_for_status()
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
        return httpx.get(url).is_success
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
        answer = httpx.post(site.api.graphql, json={"query": _LIST}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
