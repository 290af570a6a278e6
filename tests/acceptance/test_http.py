from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest
from support import Api, process, wait_until

from gql_api.servers import free_port


def test_health_is_told(api: Api) -> None:
    """/healthz is the process, /readyz is MongoDB and Redis."""
    assert httpx.get(f"{api.url}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{api.url}/readyz")
    assert (ready.status_code, ready.json()) == (200, {"mongodb": "ok", "redis": "ok"})


def test_graphiql_is_at_the_address_people_open(api: Api) -> None:
    """A browser gets GraphiQL, also from the root."""
    page = httpx.get(api.url, headers={"Accept": "text/html"}, follow_redirects=True)
    assert page.url.path == "/graphql"
    assert "graphiql" in page.text.lower()


@pytest.mark.parametrize(
    "body", ["", "{", '{"query": NaN}', '{"query": "{ task(id: 1) { id } }", "variables": {"a": Infinity}}']
)
def test_what_is_no_json_is_a_bad_request(api: Api, body: str) -> None:
    """Bodies that are no JSON, by the standard and not by Python, get 400."""
    answer = httpx.post(api.graphql, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_without_mongodb_the_answer_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    """While MongoDB is away the API is alive, not ready, and answers with a clear error in bounded time."""
    port = free_port()
    away = {**environment, "MONGODB_URL": "mongodb://127.0.0.1:1", "STORE_TIMEOUT_SECONDS": "0.5"}
    command = [sys.executable, "-m", "uvicorn", "gql_api.app:app", f"--port={port}"]
    api = Api(f"http://127.0.0.1:{port}", tmp_path / "api.log", tmp_path / "none")
    with process(command, api.log, away):
        wait_until(lambda: _answers(api))
        ready = httpx.get(f"{api.url}/readyz", timeout=10)
        assert (ready.status_code, ready.json()["mongodb"], ready.json()["redis"]) == (503, "down", "ok")
        (error,) = api.post('{ task(id: "x") { id } }')["errors"]
        assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
        assert "try again" in error["message"]


def _answers(api: Api) -> bool:
    try:
        return httpx.get(f"{api.url}/healthz").is_success
    except httpx.TransportError:
        return False


def test_a_bad_setting_stops_the_process_by_name(environment: dict[str, str], tmp_path: Path) -> None:
    """An operator reads which variable is wrong."""
    log = tmp_path / "api.log"
    command = [sys.executable, "-m", "uvicorn", "gql_api.app:app", f"--port={free_port()}"]
    with process(command, log, {**environment, "METADATA_MAX_BYTES": "many"}) as started:
        assert started.wait(timeout=30) != 0
    assert "METADATA_MAX_BYTES: " in log.read_text()
