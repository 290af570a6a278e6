"""The pages and their files over HTTP, with and without authentication."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import built
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from gql_api.api.pages import files
from gql_api.app import create_app
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")

_BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
_QUERY = {"query": "{ __typename }"}
_SCRIPT = "/assets/board-1.js"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a build, which the applications serve."""
    folder = tmp_path / "web"
    monkeypatch.setattr(files, "FOLDER", folder)
    built.build(folder)
    return folder


@contextlib.asynccontextmanager
async def _client(settings: Settings, path: str = "", **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings.model_copy(update=more))
    transport = httpx.ASGITransport(Starlette(routes=[Mount(path, app)]) if path else app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=_BROWSER) as client,
    ):
        # A connection that is still being opened when the application ends is not closed.
        await app.state.services.store.indexes.wait()
        yield client


async def test_a_browser_gets_both_pages_and_their_files(settings: Settings, folder: Path) -> None:
    """A page is asked for again each time, its files are kept, and only a browser gets the playground from GraphQL."""
    async with _client(settings) as client:
        for path, name in (("/", "board"), ("/graphql", "playground"), ("/graphql?code=a&state=b", "playground")):
            page = await client.get(path)
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8"), path
            assert f"./assets/{name}-1.js" in page.text
            assert page.headers["cache-control"] == "no-cache"
            (policy,) = page.headers.get_list("content-security-policy")
            assert "script-src 'self'; " in policy
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["referrer-policy"] == "no-referrer"
            head = await client.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers == page.headers
        asked = await client.get("/graphql", headers={"Accept": "*/*"})
        assert (asked.status_code, asked.headers["content-type"]) == (400, "application/json")
        assert (await client.get("/graphql", params=_QUERY)).json() == {"data": {"__typename": "Query"}}
        assert (await client.post("/graphql", json=_QUERY)).json() == {"data": {"__typename": "Query"}}
        assert (await client.post("/")).status_code == 405
        # The next build, while the server runs.
        built.build(folder, 2)
        assert "board-1.js" in (await client.get("/")).text
        assert (await client.get("/assets/board-2.js")).status_code == 200


async def test_a_file_is_kept_for_good_and_sent_compressed(settings: Settings, folder: Path) -> None:
    """Its name changes with its content. Each variant has its own tag, and its length is known."""
    async with _client(settings) as client:
        for accepted, encoding, content in (
            ("identity", None, built.SCRIPT.encode()),
            ("gzip, deflate", "gzip", built.SCRIPT.encode()),
            ("deflate, br;q=0", None, built.SCRIPT.encode()),
        ):
            script = await client.get(_SCRIPT, headers={"Accept-Encoding": accepted})
            assert (script.status_code, script.content) == (200, content)
            assert script.headers.get("content-encoding") == encoding
            assert script.headers["content-type"] == "text/javascript; charset=utf-8"
            assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert script.headers["vary"] == "Accept-Encoding"
            assert script.headers["x-content-type-options"] == "nosniff"
            again = {"Accept-Encoding": accepted, "If-None-Match": f'"other", W/{script.headers["etag"]}'}
            unchanged = await client.get(_SCRIPT, headers=again)
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            assert unchanged.headers["etag"] == script.headers["etag"]
        compact = await client.head(_SCRIPT, headers={"Accept-Encoding": "gzip, br, zstd"})
        assert (compact.headers["content-encoding"], compact.headers["content-length"]) == ("br", "6")
        other = {"Accept-Encoding": "gzip", "If-None-Match": compact.headers["etag"]}
        assert (
            gzip.decompress((folder / f"{_SCRIPT[1:]}.gz").read_bytes())
            == (await client.get(_SCRIPT, headers=other)).content
        )
        font = await client.get("/assets/icons-1.woff2")
        assert (font.content, font.headers["content-type"]) == (b"font", "font/woff2")


@pytest.mark.parametrize(
    "path",
    [
        "/assets/", "/assets/unknown.js", "/assets/../board.html", "/assets/%2e%2e/board.html",
        "/assets/..%2fboard.html", "/assets/%2e%2e%2fboard.html", "/assets/..%5cboard.html", "/assets/notes.txt",
        "/assets/board-1.js.gz", "/assets/board-1.js%00", "/board.html", "/assets//etc/passwd",
    ],
)  # fmt: skip
async def test_no_other_file_can_be_reached(settings: Settings, path: str) -> None:
    """A path that the build did not write is unknown, however it is written."""
    async with _client(settings) as client:
        # httpx would resolve the dots of a text.
        url = httpx.URL("http://localhost").copy_with(raw_path=path.encode())
        answer = await client.get(url)
        assert (answer.status_code, built.SCRIPT[:11] in answer.text) == (404, False)


async def test_a_file_that_is_gone_is_unknown(settings: Settings, folder: Path) -> None:
    """A build replaces the files of a running server; a page that was opened before asks for the former ones."""
    async with _client(settings) as client:
        (folder / _SCRIPT[1:]).unlink()
        gone = await client.get(_SCRIPT, headers={"Accept-Encoding": "identity"})
        assert (gone.status_code, gone.json()) == (404, {"errors": [{"message": "There is no such file"}]})


@pytest.mark.parametrize(
    ("more", "root", "graphql", "script"),
    [
        ({}, 200, 200, 200),
        ({"production": True}, 200, 400, 200),
        ({"dashboard": False}, 307, 200, 200),
        ({"dashboard": False, "production": True}, 404, 400, 404),
    ],
    ids=str,
)
async def test_settings_choose_the_pages(
    settings: Settings, more: dict[str, Any], root: int, graphql: int, script: int
) -> None:
    """Without the board, the root leads to the playground, which production does not have."""
    async with _client(settings, **more) as client:
        page = await client.get("/")
        assert (page.status_code, page.headers.get("location")) == (root, "/graphql" if root == 307 else None)
        assert (await client.get("/graphql")).status_code == graphql
        assert (await client.get(_SCRIPT)).status_code == script


async def test_pages_need_no_token_and_say_that_data_do(settings: Settings) -> None:
    """Browsers cannot send a token when they open a page. The page is the same for everybody."""
    async with _client(settings, jwt_secret="s" * 32, production=True) as client:
        for path in ("/", "/?code=a&state=b"):
            page = await client.get(path)
            assert (page.status_code, '"authentication":true' in page.text) == (200, True)
        assert (await client.head("/")).status_code == 200
        assert (await client.get(_SCRIPT)).status_code == 200
        for path in ("/graphql", "/tasks", "/metrics", "/board.html"):
            assert (await client.get(path)).status_code == 401, path
        for method in ("POST", "PUT", "DELETE"):
            assert (await client.request(method, "/")).status_code == 401
            assert (await client.request(method, _SCRIPT)).status_code == 401
    async with _client(settings, jwt_secret="s" * 32, dashboard=False, production=True) as client:
        assert (await client.get("/")).status_code == 401
        assert (await client.get(_SCRIPT)).status_code == 401
    # A function may know a caller without a token, for example by a cookie.
    for more in ({}, {"authenticate": "own_authentication:by_header"}):
        async with _client(settings, **more) as client:
            assert '"authentication":false' in (await client.get("/")).text


async def test_pages_work_below_a_path(settings: Settings) -> None:
    """A mounted application serves pages whose links begin with its own path."""
    async with _client(settings, "/tools/tasks") as client:
        for path in ("/tools/tasks/", "/tools/tasks/graphql"):
            page = await client.get(path)
            assert page.status_code == 200
            assert '<base href="/tools/tasks/">' in page.text
            assert '"path":"/tools/tasks/graphql"' in page.text
        assert (await client.get(f"/tools/tasks{_SCRIPT}")).status_code == 200
    async with _client(settings, "/tasks", dashboard=False) as client:
        assert (await client.get("/tasks/")).headers["location"] == "/tasks/graphql"


async def test_without_a_build_the_pages_say_how_to_get_one(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout without Node.js has no pages, and the API works all the same."""
    monkeypatch.setattr(files, "FOLDER", tmp_path / "unbuilt")
    async with _client(settings) as client:
        for path in ("/", "/graphql"):
            page = await client.get(path)
            assert page.status_code == 503
            assert "run <code>make web</code>, which needs Node.js" in page.text
        assert (await client.post("/graphql", json=_QUERY)).json() == {"data": {"__typename": "Query"}}
        built.build(tmp_path / "unbuilt")
        assert (await client.get("/")).status_code == 200
