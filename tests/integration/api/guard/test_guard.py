"""Hosts and origins under a real uvicorn, over HTTP and WebSockets, and the headers of every answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import plain_http
import pytest
from front import Front
from sockets import PROTOCOLS, socket_of
from starlette.requests import Request
from starlette.responses import Response
from support import served
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from gql_api.api.guard.guard import SECURITY_HEADERS
from gql_api.app import create_app, open_services
from gql_api.server.http_protocol import HttpProtocol
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")

_APP = "https://app.example.com"
_QUERY = {"query": "{ __typename }"}
_PROTOCOL = Subprotocol("graphql-transport-ws")


@pytest.fixture
async def front(settings: Settings) -> AsyncIterator[Front]:
    """The application with two hosts more than by default, and with one origin more."""
    opened = settings.model_copy(
        update={
            "allowed_hosts": ("localhost", "127.0.0.1", "[::1]", "api.example.com", "*.example.org"),
            "allowed_origins": (_APP,),
        }
    )
    app = create_app(opened)
    async with open_services(opened) as services:
        app.state.services = services
        yield Front(app)


async def _status(client: httpx.AsyncClient, path: str, **headers: str) -> int:
    """Return the status of a query, or of a GET of another path."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if path == "/graphql":
        return (await client.post(path, json=_QUERY, headers=named)).status_code
    return (await client.get(path, headers=named)).status_code


async def _raw(port: int, request: bytes) -> int:
    """Send what httpx does not, and return the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


async def test_only_allowed_hosts_are_answered(front: Front) -> None:
    """A request for another host gets a 400 on all paths but those of health checks; ports do not matter."""
    async with served(front.app) as port, plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for host in ("localhost", "LOCALHOST:1", "localhost.", "127.0.0.1:8000", "[::1]:80", "a.b.example.org"):
            assert await _status(client, "/graphql", Host=host) == 200, host
        for host in (
            "evil.test",
            "localhost.evil.test",
            "example.org",
            "evilexample.org",
            "10.0.0.1",
            "localhost@e",
            "",
        ):
            assert await _status(client, "/graphql", Host=host) == 400, host
            assert await _status(client, "/tasks", Host=host) == 400, host
            assert await _status(client, "/healthz", Host=host) == 200, host
            assert await _status(client, "/readyz", Host=host) == 200, host
            assert (await _status(client, "/metrics", Host=host) == 200) is (host == "10.0.0.1"), host
        assert await _raw(port, b"GET /tasks HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n\r\n") == 400
        assert await _raw(port, b"GET /tasks HTTP/1.0\r\n\r\n") == 400


async def test_only_own_and_listed_origins_are_answered(front: Front) -> None:
    """A request that a page of another origin sends or embeds gets a 403 on every path, whatever its method."""
    async with served(front.app) as port, plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        own = f"http://127.0.0.1:{port}"
        for path in ("/graphql", "/graphql?query={__typename}", "/tasks", "/metrics"):
            for allowed in (own, own.upper(), _APP, f"{_APP}:443"):
                assert await _status(client, path, Origin=allowed) == 200, allowed
            for refused in (
                f"https://127.0.0.1:{port}", "http://127.0.0.1", f"http://localhost:{port}", "null", "", "x",
                "http://app.example.com", f"{_APP}.evil.test", f"{_APP}:444", f"{_APP}/", f"https://u@{_APP[8:]}",
            ):  # fmt: skip
                assert await _status(client, path, Origin=refused) == 403, refused
            for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
                assert await _status(client, path, Sec_Fetch_Site=site) == status, site
            assert await _status(client, path, Sec_Fetch_Site="cross-site", Origin=_APP) == 200
            assert await _status(client, path, Origin="http://api.example.com", Host="api.example.com") == 200
            assert await _status(client, path, Origin="http://api.example.com", Host="localhost") == 403
        both = [("Origin", own), ("Origin", "http://evil.test"), ("Content-Type", "application/json")]
        assert (await client.post("/graphql", content=json.dumps(_QUERY), headers=both)).status_code == 403
        text = {"Content-Type": "text/plain", "Origin": "http://evil.test"}
        assert (await client.post("/create-task", content='{"task_input": 1}', headers=text)).status_code == 403


async def test_the_scheme_of_a_trusted_proxy_counts(front: Front) -> None:
    """Behind a proxy with TLS the API's own origin is https, if the server trusts the proxy."""
    for trusted, status in (("127.0.0.1", 200), ("10.0.0.1", 403)):
        async with socket_of(front.app, forwarded_allow_ips=trusted) as port:
            headers = {"Origin": "https://api.example.com", "Host": "api.example.com", "X-Forwarded-Proto": "https"}
            async with plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                assert (await client.post("/graphql", json=_QUERY, headers=headers)).status_code == status
            assert await _handshake(port, **headers) == (101 if status == 200 else 403)


async def test_a_link_on_another_site_opens_a_page(front: Front) -> None:
    """Pages have no data, and an issuer sends browsers back to them. All else that a link may ask for is refused."""
    async with served(front.app) as port, plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        headers = {"Sec-Fetch-Site": "cross-site", "Accept": "text/html"}
        for path in ("/", "/graphql", "/?code=a&state=b", "/graphql?code=a&state=b"):
            assert (await client.get(path, headers=headers)).headers["content-type"] == "text/html; charset=utf-8"
        script = {**headers, "Accept": "*/*"}
        assert (await client.get("/graphql", headers=script)).status_code == 403
        assert (await client.get("/assets/board.js", headers=headers)).status_code == 403
        assert (await client.get("/graphql?query={__typename}", headers=headers)).status_code == 403
        assert (await client.get("/graphql?code=a&documentId=b", headers=headers)).status_code == 403
        assert (await client.get("/tasks", headers=headers)).status_code == 403
        assert (await client.post("/graphql", json=_QUERY, headers=headers)).status_code == 403


async def _handshake(port: int, **headers: str) -> int:
    """Return the status of a handshake with GraphQL over WebSocket."""
    origin = headers.pop("Origin", None)
    url = f"ws://{headers.pop('Host', f'127.0.0.1:{port}')}/graphql"
    connecting = connect(
        url,
        host="127.0.0.1",
        port=port,
        proxy=None,
        origin=None if origin is None else Origin(origin),
        additional_headers=headers,
        subprotocols=[_PROTOCOL],
    )
    try:
        async with connecting as socket:
            await socket.send('{"type": "connection_init"}')
            assert json.loads(await socket.recv()) == {"type": "connection_ack"}
    except InvalidStatus as error:
        return error.response.status_code
    return 101


@pytest.mark.parametrize("http", PROTOCOLS)
async def test_the_same_rule_holds_for_handshakes(front: Front, http: type[HttpProtocol] | str) -> None:
    """A WebSocket of a foreign page or for another host is refused, whichever code parses the handshake."""
    async with socket_of(front.app, http) as port:
        own = f"http://127.0.0.1:{port}"
        assert await _handshake(port) == 101
        for allowed in (own, _APP):
            assert await _handshake(port, Origin=allowed) == 101, allowed
        for refused in ("null", "http://evil.test", f"https://127.0.0.1:{port}", "http://app.example.com"):
            assert await _handshake(port, Origin=refused) == 403, refused
        fetch_site = {"Sec-Fetch-Site": "cross-site"}
        assert await _handshake(port, **fetch_site) == 403
        assert await _handshake(port, Origin="http://evil.test", **{"Sec-Fetch-Site": "same-origin"}) == 403
        assert await _handshake(port, Host="api.example.com") == 101
        assert await _handshake(port, Host="evil.test") == 400
        assert await _handshake(port, Host="evil.test", Origin="http://evil.test") == 400


async def test_browsers_get_their_permission(front: Front) -> None:
    """A listed origin may send what clients need, without cookies; another is refused, preflight requests included."""
    async with served(front.app) as port, plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,last-event-id",
        }
        preflight = await client.options("/graphql", headers={"Origin": _APP, **asked})
        answer = await client.post("/graphql", json=_QUERY, headers={"Origin": _APP})
        for allowed in (preflight, answer):
            assert allowed.status_code == 200
            assert allowed.headers["access-control-allow-origin"] == _APP
            assert "Origin" in allowed.headers["vary"]
            assert "access-control-allow-credentials" not in allowed.headers
        assert answer.json() == {"data": {"__typename": "Query"}}
        assert preflight.headers["access-control-allow-methods"] == "GET, POST"
        for refused in (f"http://127.0.0.1:{port + 1}", "null"):
            answer = await client.options("/graphql", headers={"Origin": refused, **asked})
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers


async def test_every_answer_has_the_security_headers(front: Front) -> None:
    """Refusals, errors, redirects and streams have them too; a stream keeps its own rule for caches."""
    front.app.add_route("/fails", _fail)
    async with served(front.app) as port, plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answers = [
            await client.post("/graphql", json=_QUERY),
            await client.get("/graphql", params=_QUERY),
            await client.post("/graphql", json=_QUERY, headers={"Host": "evil.test"}),
            await client.post("/graphql", json=_QUERY, headers={"Origin": "null"}),
            await client.options("/graphql", headers={"Origin": _APP, "Access-Control-Request-Method": "POST"}),
            *[await client.get(path) for path in ("/healthz", "/readyz", "/metrics", "/tasks", "/task/x", "/no")],
            await client.put("/graphql"),
            await client.get("/graphql/"),
            await client.get("/fails"),
        ]
        assert {answer.status_code for answer in answers} == {200, 307, 400, 403, 404, 405, 500}
        for answer in answers:
            assert set(SECURITY_HEADERS) <= set(answer.headers.raw), answer
        stream = await client.post("/graphql", json=_QUERY, headers={"Accept": "text/event-stream"})
        assert stream.headers["cache-control"] == "no-store, no-transform"
        assert set(SECURITY_HEADERS[:-1]) <= set(stream.headers.raw)


async def _fail(_request: Request) -> Response:
    raise LookupError("SECRET")


async def test_no_address_comes_from_the_host_header(front: Front) -> None:
    """Redirects lead to paths of the same host: a cache or a proxy may give an answer to others."""
    async with served(front.app) as port, plain_http.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for path, location in (
            ("/graphql/?a=1", "/graphql?a=1"), ("/tasks//", "/tasks"),
            ("/task/a%3Fb/", "/task/a%3Fb"),
        ):  # fmt: skip
            answer = await client.get(path, headers={"Host": "a.example.org"})
            assert (answer.status_code, answer.headers["location"]) == (307, location)
        assert await _raw(port, b"GET //evil.test/ HTTP/1.1\r\nHost: localhost\r\n\r\n") == 404
