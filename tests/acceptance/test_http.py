from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import plain_http
import pytest
from ports import free_port
from support import Api, process, wait_until


def test_health_is_told(api: Api) -> None:
    """/healthz reports the process, /readyz MongoDB and Redis."""
    assert plain_http.get(f"{api.url}/healthz").json() == {"status": "ok"}
    wait_until(lambda: _readiness(api) == (200, {"mongodb": "ok", "redis": "ok"}))


def _readiness(api: Api) -> tuple[int, dict[str, str]]:
    """Return the answer of /readyz, which has two seconds for each server: a busy machine may need more once."""
    ready = plain_http.get(f"{api.url}/readyz", timeout=10)
    return ready.status_code, ready.json()


@pytest.mark.parametrize(
    "body", ["", "{", '{"query": NaN}', '{"query": "{ task(id: 1) { id } }", "variables": {"a": Infinity}}']
)
def test_what_is_no_json_is_a_bad_request(api: Api, body: str) -> None:
    """A body that is not JSON by its standard gets a 400, also where Python's parser would accept it."""
    answer = plain_http.post(api.graphql, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


_DEEP = {"query": "{task(id:" + "[" * 3000 + "]" * 3000 + "){id}}"}


@pytest.mark.parametrize(
    "body",
    [
        b"1", b'"x"', b"null", b"[]", b"[1]", b"{}", b'{"query": 1}', b'{"query": "{a}", "variables": [1]}',
        b'{"query": "{ __typename }", "operationName": [1]}', b'{"query": "{ __typename }", "extensions": 1}',
        b"[" * 100_000, b"9" * 10_000, b"\xff\xfe", json.dumps(_DEEP).encode(), b'{"query": "{{{{"}',
        b'{"query": ""}', b'{"query": "query A { __typename } query B { __typename }"}',
        b'{"query": "query ($a: Int!) { tasks(first: $a) { nodes { id } } }"}',
        b'{"query": "subscription { taskUpdated(id: 1) { id } }"}',
    ],
    ids=lambda body: repr(body[:40]),
)  # fmt: skip
def test_malformed_requests_get_400(api: Api, body: bytes) -> None:
    """A request that cannot be executed is a 400 with an error message, never a 5xx."""
    headers = {"Content-Type": "application/json", "Accept": "application/graphql-response+json"}
    answer = plain_http.post(api.graphql, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/graphql-response+json")
    assert answer.json()["errors"][0]["message"]
    assert "data" not in answer.json()


def test_the_operation_that_is_named_runs(api: Api) -> None:
    """The operation of ``operationName`` runs, whatever its place in the document."""
    document = "query A { __typename } query B { b: __typename }"
    for _ in range(2):  # the second time from the caches
        answer = plain_http.post(api.graphql, json={"query": document, "operationName": "B"})
        assert answer.json() == {"data": {"b": "Query"}}
        refused = plain_http.post(api.graphql, json={"query": document}).json()
        assert "operationName" in refused["errors"][0]["message"]


def test_methods_are_kept_apart(api: Api) -> None:
    """A GET never changes anything, and other methods are rejected with the allowed ones."""
    query = 'mutation { createTask(input: {name: "task_modules.add", args: [1]}) { created } }'
    refused = plain_http.get(api.graphql, params={"query": query})
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert plain_http.put(api.graphql).status_code == 405
    assert plain_http.post(api.graphql, content="{}", headers={"Content-Type": "text/plain"}).status_code == 415


def test_without_mongodb_the_answer_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    """While MongoDB is down the API is alive, not ready, and returns a clear error in bounded time."""
    port = free_port()
    away = {**environment, "MONGODB_URL": "mongodb://127.0.0.1:1", "STORE_TIMEOUT_SECONDS": "0.5"}
    command = [sys.executable, "-m", "uvicorn", "gql_api.app:app", f"--port={port}"]
    api = Api(f"http://127.0.0.1:{port}", tmp_path / "api.log", tmp_path / "none")
    with process(command, api.log, away):
        wait_until(lambda: _answers(api), 60)
        wait_until(lambda: _readiness(api) == (503, {"mongodb": "down", "redis": "ok"}))
        (error,) = api.post('{ task(id: "x") { id } }')["errors"]
        assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
        assert "try again" in error["message"]


def _answers(api: Api) -> bool:
    try:
        return plain_http.get(f"{api.url}/healthz").is_success
    except httpx.TransportError:
        return False


def test_a_bad_setting_stops_the_process_by_name(environment: dict[str, str], tmp_path: Path) -> None:
    """The log names the invalid variable."""
    log = tmp_path / "api.log"
    command = [sys.executable, "-m", "uvicorn", "gql_api.app:app", f"--port={free_port()}"]
    with process(command, log, {**environment, "METADATA_MAX_BYTES": "many"}) as started:
        assert started.wait(timeout=30) != 0
    assert "METADATA_MAX_BYTES: " in log.read_text()
