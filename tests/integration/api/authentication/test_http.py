"""Authentication of HTTP requests, over the whole application."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from databases import Databases
from issuer import claims, running_issuer
from prometheus_client import REGISTRY
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from gql_api.access import Principal
from gql_api.access import Scope as PrincipalScope
from gql_api.api.context import PRINCIPAL, NoPrincipalError, context_of
from gql_api.app import create_app
from gql_api.settings import Settings

_SECRET = "s" * 32
_VIEWER = "{ viewer { subject scopes expiresAt } }"


def _bearer(**more: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {jwt.encode(claims(aud=..., **more), _SECRET)}"}


@contextlib.asynccontextmanager
async def _client(app: Starlette, path: str = "") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=f"http://localhost{path}") as client,
    ):
        # A connection that is still being opened when the application ends is not closed.
        await app.state.services.store.indexes.wait()
        yield client


# The requests are independent: one application answers them all.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings(databases: Databases) -> Iterator[Settings]:
    """Settings with a database of the module's own."""
    name = f"test_{uuid.uuid4().hex}"
    yield Settings(mongodb_url=databases.mongodb.url, mongodb_database=name, celery_broker_url=databases.redis.url)
    with MongoClient[dict[str, object]](databases.mongodb.url) as client:
        client.drop_database(name)


@pytest.fixture(scope="module")
def secured(settings: Settings) -> Settings:
    """Settings with a shared secret."""
    return settings.model_copy(update={"jwt_secret": _SECRET, "allowed_origins": ("https://app.example.com",)})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(secured: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API that needs tokens, without one."""
    async with _client(create_app(secured)) as client:
        yield client


async def _viewer(client: httpx.AsyncClient, **headers: str) -> Any:
    answer = await client.post("/graphql", json={"query": _VIEWER}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["viewer"]


def _count(reason: str) -> float:
    return REGISTRY.get_sample_value("gql_api_authentication_failures_total", {"reason": reason}) or 0.0


async def test_the_viewer_is_the_tokens_subject(client: httpx.AsyncClient) -> None:
    """The scopes are in the order of the enum, and the time is that of the claim."""
    token = _bearer(scope="tasks:create tasks:read", exp=4102444800)
    expected = {"subject": "ann", "scopes": ["TASKS_READ", "TASKS_CREATE"], "expiresAt": "2100-01-01T00:00:00.000000Z"}
    viewer = await _viewer(client, **token)
    assert {**viewer, "expiresAt": viewer["expiresAt"][:19]} == {**expected, "expiresAt": "2100-01-01T00:00:00"}
    answer = await client.get("/graphql", params={"query": _VIEWER}, headers=token)
    assert answer.json()["data"]["viewer"] == viewer


async def test_without_authentication_the_viewer_may_do_everything(settings: Settings) -> None:
    """It has no subject, all scopes, and does not expire."""
    async with _client(create_app(settings)) as client:
        viewer = await _viewer(client)
    assert viewer == {"subject": None, "scopes": [*PrincipalScope], "expiresAt": None}


_REQUESTS = [
    ("POST", "/graphql"), ("GET", "/graphql?query={__typename}"), ("GET", "/graphql"), ("PUT", "/graphql"),
    ("GET", "/tasks"), ("GET", "/task/x"), ("POST", "/create-task"), ("GET", "/metrics"), ("HEAD", "/metrics"),
    ("GET", "/nothing"), ("GET", "/graphql/"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), _REQUESTS)
async def test_every_request_needs_a_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    """Without one, the answer is a 401 with the challenge, whatever the request is; with one, it is another."""
    before = _count("missing")
    refused = await client.request(method, path, json={"query": _VIEWER} if method == "POST" else None)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.headers["cache-control"] == "no-store"
    if method != "HEAD":
        (error,) = refused.json()["errors"]
        assert error == {
            "message": "The request needs a valid token",
            "extensions": {"code": "UNAUTHENTICATED"},
        }
    assert _count("missing") == before + 1
    assert (await client.request(method, path, headers=_bearer())).status_code != 401


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "application/json"), ("*/*", "application/json"), ("application/json", "application/json"),
        ("application/graphql-response+json", "application/graphql-response+json"),
        ("text/event-stream", "application/json"), ("text/html", "application/json"),
        ('multipart/mixed;subscriptionSpec="1.0", application/json', "application/json"),
    ],
)  # fmt: skip
async def test_a_refusal_has_the_media_type_that_the_client_accepts(
    client: httpx.AsyncClient, accept: str, media_type: str
) -> None:
    """A client of streams gets JSON, for there is no stream."""
    refused = await client.post(
        "/graphql", json={"query": "subscription { taskChanges { kind } }"}, headers={"Accept": accept}
    )
    assert refused.status_code == 401
    assert refused.headers["content-type"] == media_type
    assert refused.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_token_that_is_not_valid_is_called_so(client: httpx.AsyncClient) -> None:
    """The challenge says that the token is invalid, and nothing says why."""
    before = _count("expired")
    for headers in (_bearer(exp=1), {"Authorization": "Bearer x"}, {"Authorization": b"Bearer \xff\xfe"}):
        refused = await client.post("/graphql", json={"query": _VIEWER}, headers=headers)  # type: ignore[arg-type]
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
        assert refused.json()["errors"][0]["message"] == "The request needs a valid token"
    assert _count("expired") == before + 1


@pytest.mark.parametrize("name", ["access_token", "token", "authorization"])
async def test_a_token_in_the_url_is_ignored(client: httpx.AsyncClient, name: str) -> None:
    """URLs are logged by proxies, and kept by browsers."""
    token = _bearer()["Authorization"].removeprefix("Bearer ")
    refused = await client.post(f"/graphql?{name}={token}", json={"query": _VIEWER})
    assert refused.status_code == 401


async def test_several_authorization_headers_are_refused(client: httpx.AsyncClient) -> None:
    """A proxy may have checked another one than the API."""
    headers = [*_bearer().items(), *_bearer(sub="bob").items()]
    refused = await client.post("/graphql", json={"query": _VIEWER}, headers=headers)
    assert refused.status_code == 401
    assert refused.json()["errors"][0]["message"] == "The request must have one Authorization header"


async def test_what_has_no_data_needs_no_token(client: httpx.AsyncClient) -> None:
    """Health checks, and what browsers ask before a request."""
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/readyz")).status_code == 200
    asked = {
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    preflight = await client.options("/graphql", headers=asked)
    assert preflight.status_code == 200
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    refused = await client.post("/graphql", json={"query": _VIEWER}, headers={"Origin": asked["Origin"]})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == asked["Origin"]
    assert (await client.options("/graphql")).status_code == 405


@pytest.mark.parametrize(
    "parameter", ["query={viewer{subject}}", "query=", "documentId=x", "extensions={}", "%71uery=a"]
)
async def test_the_page_runs_no_operation(client: httpx.AsyncClient, parameter: str) -> None:
    """A request for the page that has an operation needs a token."""
    refused = await client.get(f"/graphql?{parameter}", headers={"Accept": "text/html"})
    assert refused.status_code == 401


async def test_a_refused_body_is_not_read(client: httpx.AsyncClient) -> None:
    """A request without a token costs the API no memory, however large it is."""
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b"x" * 100_000

    refused = await client.post("/graphql", content=body(), headers={"Content-Type": "application/json"})
    assert (refused.status_code, read) == (401, 0)


async def test_keys_of_an_issuer_verify_requests(settings: Settings) -> None:
    """A token is accepted as soon as the keys are there, and the service is unavailable before."""
    with running_issuer() as issuer:
        issued = {"jwt_jwks_url": issuer.url, "jwt_issuer": "https://issuer.example.com/", "jwt_audience": ("gql-api",)}
        async with _client(create_app(settings.model_copy(update=issued))) as client:
            assert (await _viewer(client, Authorization=f"Bearer {issuer.token()}"))["subject"] == "ann"
            assert issuer.fetches == 1
        away = settings.model_copy(update={**issued, "jwt_jwks_url": "http://127.0.0.1:1/"})
        async with _client(create_app(away)) as client:
            answer = await client.post(
                "/graphql", json={"query": _VIEWER}, headers={"Authorization": f"Bearer {issuer.token()}"}
            )
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"


class _Away:
    """An authenticator whose MongoDB does not answer."""

    is_required = True

    async def by_headers(self, headers: Mapping[str, str]) -> Principal:
        """Fail as PyMongo does."""
        raise ServerSelectionTimeoutError(f"no server for {len(headers)} headers")


async def test_without_mongodb_nobody_is_let_in_nor_refused(settings: Settings) -> None:
    """The answer is a 503 that does not say what is behind it, over REST too."""
    async with _client(create_app(settings, authenticator=_Away())) as client:
        for path in ("/graphql", "/create-task"):
            answer = await client.post(path, json={"query": _VIEWER})
            assert answer.status_code == 503
            (error,) = answer.json()["errors"]
            assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
            assert "no server" not in error["message"]


async def _by(settings: Settings, function: str, **headers: str) -> httpx.Response:
    app = create_app(settings.model_copy(update={"authenticate": f"own_authentication:{function}"}))
    async with _client(app) as client:
        return await client.post("/graphql", json={"query": _VIEWER}, headers=headers)


async def test_a_function_of_the_deployment_authenticates(settings: Settings) -> None:
    """It may be asynchronous, or run in a thread, and gets headers whose names have any case."""
    answer = await _by(settings, "by_header", **{"x-remote-user": "eve"})
    assert answer.json()["data"]["viewer"] == {"subject": "eve", "scopes": ["TASKS_READ"], "expiresAt": None}
    answer = await _by(settings, "in_thread", cookie="a=1")
    assert answer.json()["data"]["viewer"]["subject"] == "a=1 in authenticate_0"


@pytest.mark.parametrize(
    ("function", "status"),
    [("by_header", 401), ("expired", 401), ("failing", 503), ("something_else", 503), ("in_thread", 503)],
)
async def test_a_function_that_accepts_nobody_or_fails_lets_nobody_in(
    settings: Settings, function: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """None and an expired principal are a 401. What it raises is logged, and not shown."""
    answer = await _by(settings, function)
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert bool([record for record in caplog.records if "AUTHENTICATE" in record.message]) == (status == 503)


async def test_tokens_of_a_known_kind_are_not_for_the_function(secured: Settings) -> None:
    """A token that its verifier refuses is refused, and the function is asked about all other requests."""
    app = create_app(secured.model_copy(update={"authenticate": "own_authentication:by_header"}))
    async with _client(app) as client:
        assert (await _viewer(client, **_bearer()))["subject"] == "ann"
        assert (await _viewer(client, **{"X-Remote-User": "eve", "Authorization": "Basic x"}))["subject"] == "eve"
        headers = {"X-Remote-User": "eve", **_bearer(exp=1)}
        assert (await client.post("/graphql", json={"query": _VIEWER}, headers=headers)).status_code == 401


async def test_a_parent_application_may_authenticate(secured: Settings) -> None:
    """The principal that it puts into the scope is the caller, and without one the API asks for a token."""
    tasks = create_app(secured)

    async def parent(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and scope["path"].startswith("/trusted"):
            scope[PRINCIPAL] = Principal("parent", frozenset())
        await Starlette(routes=[Mount("/trusted", tasks), Mount("/other", tasks)])(scope, receive, send)

    transport = httpx.ASGITransport(parent)
    async with (
        tasks.router.lifespan_context(tasks),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        answer = await client.post("/trusted/graphql", json={"query": _VIEWER})
        assert answer.json()["data"]["viewer"]["subject"] == "parent"
        assert (await client.post("/other/graphql", json={"query": _VIEWER})).status_code == 401
        assert (await client.get("/other/healthz")).status_code == 200


async def test_a_request_that_nothing_has_authenticated_has_no_context(settings: Settings) -> None:
    """There is no default principal, and what is no principal is none."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        for scope in ({}, {PRINCIPAL: None}, {PRINCIPAL: "ann"}):
            with pytest.raises(NoPrincipalError):
                context_of(Request({"type": "http", "app": app, **scope}), Response())


async def test_a_stream_begins_only_with_a_token(client: httpx.AsyncClient) -> None:
    """A subscription over server-sent events needs a token, as every request does."""
    document = {"query": 'subscription { taskUpdated(id: "unknown") { id } }'}
    accept = {"Accept": "text/event-stream"}
    assert (await client.post("/graphql", json=document, headers=accept)).status_code == 401
    stream = await client.post("/graphql", json=document, headers={**accept, **_bearer()})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert "NOT_FOUND" in stream.text


async def test_rest_answers_as_graphql_does(client: httpx.AsyncClient) -> None:
    """With a token, the plain endpoints answer."""
    assert (await client.get("/task/unknown", headers=_bearer())).status_code == 404
    created = await client.post("/create-task", json={}, headers=_bearer())
    assert created.status_code == 400
