from __future__ import annotations

import re
import sys
from pathlib import Path

import httpx
import plain_http
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport
from ports import free_port
from support import ROOT, Api, process, wait_until

_EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


async def test_the_api_works_inside_another_application(api: Api, environment: dict[str, str], tmp_path: Path) -> None:
    """The example of the docs serves GraphQL over HTTP and WebSocket, health and the pages, below its own path."""
    example, _ = _EXAMPLE.findall((ROOT / "docs" / "embedding.md").read_text())
    (tmp_path / "outer.py").write_text(example)
    port = free_port()
    env = {**environment, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "uvicorn", "outer:app", f"--port={port}"]
    inner = Api(f"http://127.0.0.1:{port}/tasks-api", tmp_path / "outer.log", api.worker_log)
    with process(command, inner.log, env, cwd=tmp_path):
        wait_until(inner.is_ready, 60)
        id_ = inner.create("task_modules.add", args=[4])
        async with Client(transport=WebsocketsTransport(url=inner.websocket)) as session:
            watch = gql(f'subscription {{ taskUpdated(id: "{id_}") {{ status result }} }}')
            seen = [data["taskUpdated"] async for data in session.subscribe(watch)]
        assert seen[-1] == {"status": "SUCCESS", "result": 5}
        async with plain_http.AsyncClient(follow_redirects=True) as browser:
            page = await browser.get(inner.url, headers={"Accept": "text/html"})
        assert (page.headers["content-type"], page.url.path) == ("text/html; charset=utf-8", "/tasks-api/")


def _is_ready(api: Api) -> bool:
    try:
        return plain_http.get(f"{api.url}/readyz").is_success
    except httpx.TransportError:
        return False
