"""API tokens and access tokens over a real MongoDB."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from databases import Databases
from front import Front
from proxy import Mode, Proxy
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import PyMongoError
from starlette.requests import Request
from starlette.responses import Response
from strawberry.types import ExecutionResult
from support import wait_until_async

from gql_api.access.api_tokens import ApiToken
from gql_api.access.principal import ALL_SCOPES, ANONYMOUS, Principal, Restrictions, Scope
from gql_api.access.token_filter import read_token_filter
from gql_api.api.authentication.authenticator import Revocations, UnauthenticatedError
from gql_api.api.authentication.issued import api_tokens as api_tokens_module
from gql_api.api.authentication.issued import revocations as revocations_module
from gql_api.api.authentication.issued.api_tokens import ApiTokens
from gql_api.api.authentication.issued.token_store import TokenStore
from gql_api.api.context import PRINCIPAL, context_of
from gql_api.api.schema.build import schema
from gql_api.api.store.tasks import TaskStore
from gql_api.app import create_app, open_services
from gql_api.query.filter import TaskFilter
from gql_api.record.reads import CODEC, Document
from gql_api.registry import api_tokens
from gql_api.registry.api_tokens import StoredToken
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")

_ROOT = Principal("root", ALL_SCOPES)
_CREATE = """
mutation ($input: CreateApiTokenInput!) {
  createApiToken(input: $input) {
    token userErrors { code message field }
    apiToken { id name subject tenant scopes filter names queues minPriority maxTimeLimitSeconds metadata createdBy
      createdAt expiresAt lastUsedAt revokedAt }
  }
}
"""
_MINT = """
mutation ($input: CreateAccessTokenInput!) {
  createAccessToken(input: $input) { token expiresAt userErrors { code message field } }
}
"""
_REVOKE = "mutation ($id: ID!) { revokeApiToken(id: $id) { apiToken { id revokedAt } userErrors { code field } } }"
_LIST = """
query ($first: Int, $after: String) {
  apiTokens(first: $first, after: $after) {
    nodes { id name } edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


@dataclass(frozen=True)
class _Door:
    """The schema, asked by any principal, and the authenticator of the application."""

    front: Front

    async def ask(self, principal: Principal, document: str, **variables: Any) -> ExecutionResult:
        request = Request({"type": "http", "app": self.front.app, PRINCIPAL: principal})
        context = context_of(request, Response())
        result = await schema.execute(document, variable_values=variables, context_value=context)
        assert isinstance(result, ExecutionResult)
        return result

    async def payload(self, principal: Principal, document: str, **variables: Any) -> dict[str, Any]:
        """Run an operation of one field that must succeed, and return the field."""
        result = await self.ask(principal, document, **variables)
        assert result.errors is None, result.errors
        assert result.data is not None
        (payload,) = result.data.values()
        assert isinstance(payload, dict)
        return payload

    async def refusal(self, principal: Principal, document: str, **variables: Any) -> tuple[str, Any]:
        """Run an operation that must fail, and return the message and the code."""
        result = await self.ask(principal, document, **variables)
        assert result.errors is not None
        (error,) = result.errors
        return error.message, (error.extensions or {}).get("code")

    @property
    def revocations(self) -> Revocations:
        """The revocations that the application watches."""
        revocations = self.front.services.revocations
        assert revocations is not None
        return revocations

    async def principal(self, token: str) -> Principal:
        """Return who calls with a token."""
        return await self.front.services.authenticator.by_headers({"authorization": f"Bearer {token}"})

    async def api_token(self, principal: Principal = _ROOT, **input_: Any) -> str:
        """Make an API token that must be allowed."""
        named = {"name": "test", "subject": "alice", "scopes": ["TASKS_READ"], **input_}
        payload = await self.payload(principal, _CREATE, input=named)
        assert payload["userErrors"] == []
        return str(payload["token"])

    async def access_token(self, principal: Principal, **input_: Any) -> str:
        """Issue an access token that must be allowed."""
        payload = await self.payload(principal, _MINT, input={"scopes": ["TASKS_READ"], **input_})
        assert payload["userErrors"] == []
        return str(payload["token"])


@pytest.fixture
async def door(settings: Settings) -> AsyncIterator[_Door]:
    """An application with tokens of its own."""
    settings = settings.model_copy(update={"access_secret": "s" * 32, "access_token_max_seconds": 3600})
    app = create_app(settings)
    async with open_services(settings) as services:
        app.state.services = services
        yield _Door(Front(app))


@pytest.fixture
def stored(settings: Settings) -> Any:
    """The collection of tokens."""
    with MongoClient[Document](settings.mongodb_url) as client:
        yield client[settings.mongodb_database].get_collection(api_tokens.COLLECTION, codec_options=CODEC)


async def _is_refused(door: _Door, token: str) -> bool:
    try:
        await door.principal(token)
    except UnauthenticatedError:
        return True
    return False


async def test_an_api_token_is_made_used_and_listed(door: _Door, stored: Collection[Document]) -> None:
    """A token gives its holder what it was made with; MongoDB has its hash only."""
    grant = {
        "filter": {"metadata": [{"path": "$customer.a", "eq": "c-42"}]},
        "names": ["add"],
        "queues": ["fast"],
        "minPriority": 3,
        "maxTimeLimitSeconds": 60.0,
        "metadata": {"customer": "c-42"},
    }
    input_ = {"name": "web", "subject": "alice", "tenant": "acme", "scopes": ["TASKS_READ", "TASKS_CREATE"], **grant}
    payload = await door.payload(_ROOT, _CREATE, input={**input_, "expiresInSeconds": 60})
    shown = payload["apiToken"]
    assert {name: shown[name] for name in input_} == {**input_, "scopes": ["TASKS_CREATE", "TASKS_READ"]}
    assert (shown["createdBy"], shown["lastUsedAt"], shown["revokedAt"]) == ("root", None, None)
    principal = await door.principal(payload["token"])
    assert (principal.subject, principal.tenant, principal.token_id) == ("alice", "acme", shown["id"])
    assert principal.scopes == {Scope.TASKS_READ, Scope.TASKS_CREATE}
    assert principal.filter == read_token_filter(grant["filter"])
    assert principal.restrictions == Restrictions(
        frozenset({"add"}), frozenset({"fast"}), 3, 60.0, {"customer": "c-42"}
    )
    assert principal.expires_at is not None
    (document,) = stored.find()
    secret = payload["token"].removeprefix(shown["id"])
    assert secret[1:20] not in repr(document)
    assert repr(ApiToken.parse(payload["token"])).find(secret[1:20]) < 0
    assert (await door.payload(_ROOT, _LIST))["nodes"] == [{"id": shown["id"], "name": "web"}]


async def test_a_wrong_secret_is_no_token(door: _Door) -> None:
    """The id of a token alone, with another secret, gives nothing."""
    token = ApiToken.parse(await door.api_token())
    assert token is not None
    other = ApiToken.new()
    forged_text = f"{token.id}_{other.text.removeprefix(f'{other.id}_')[:-8]}"
    forged = f"{forged_text}{zlib.crc32(forged_text.encode()):08x}"
    assert ApiToken.parse(forged) is not None
    assert await _is_refused(door, forged)
    assert await _is_refused(door, other.text)
    assert await _is_refused(door, f"{token.text}0")
    assert not await _is_refused(door, token.text)


async def test_an_expired_token_is_refused_though_it_is_cached(door: _Door) -> None:
    """The cache never keeps a token, of either kind, beyond its expiry."""

    async def expire(token: str) -> None:
        expires_at = (await door.principal(token)).expires_at
        assert expires_at is not None

        async def has_expired() -> bool:
            asked_at = datetime.now(UTC)
            if await _is_refused(door, token):
                return True
            assert asked_at < expires_at
            return False

        await wait_until_async(has_expired)
        assert expires_at <= datetime.now(UTC)

    # An access token is valid for up to a second less, and on a loaded machine the first use may be late.
    tokens = await door.api_token(expiresInSeconds=5), await door.access_token(_ROOT, expiresInSeconds=5)
    await asyncio.gather(*map(expire, tokens))


async def test_a_revoked_token_ends_within_two_seconds(door: _Door) -> None:
    """Requests with it, its access tokens and theirs are refused, and open connections are told."""
    token = await door.api_token(scopes=["TASKS_READ"])
    principal = await door.principal(token)
    access_token = await door.access_token(principal)
    grandchild = await door.access_token(await door.principal(access_token))
    other = await door.api_token()
    ended: list[str] = []
    revocations = door.revocations
    for each in (token, access_token, grandchild, other):
        revocations.watch(str((await door.principal(each)).token_id), lambda each=each: ended.append(each))  # type: ignore[misc]
    revocations.watch(str(principal.token_id), lambda: ended.append("left"))()
    assert principal.token_id is not None

    revoked = await door.payload(_ROOT, _REVOKE, id=principal.token_id)
    assert revoked["userErrors"] == []

    async def is_ended() -> bool:
        refused = [await _is_refused(door, each) for each in (token, access_token, grandchild)]
        return all(refused) and len(ended) == 3

    await wait_until_async(is_ended)
    # A loaded machine may take longer. With the time that a read takes, these are within two seconds.
    assert max(revocations_module._MAX_SECONDS, api_tokens_module._KNOWN_SECONDS) <= 1.0  # noqa: SLF001 - as above
    assert set(ended) == {token, access_token, grandchild}
    assert not await _is_refused(door, other)
    again = await door.payload(_ROOT, _REVOKE, id=principal.token_id)
    assert again["apiToken"] == revoked["apiToken"], "the first time stays"


async def test_a_token_whose_document_was_removed_ends(door: _Door, stored: Collection[Document]) -> None:
    """A token that somebody deleted in MongoDB counts as revoked."""
    token_id = str((await door.principal(await door.api_token())).token_id)
    ended = asyncio.Event()
    door.revocations.watch(token_id, ended.set)
    stored.delete_one(api_tokens.by_ids([token_id]))
    await asyncio.wait_for(ended.wait(), 20)


class _Counting(TokenStore):
    reads = 0

    async def read(self, ids: list[str]) -> list[StoredToken | None]:
        """Count the reads."""
        self.reads += 1
        return await super().read(ids)


async def test_a_flood_of_unknown_tokens_is_few_reads(store: TaskStore) -> None:
    """Tokens that arrive together share reads, and an unknown one is read once in a while."""
    token_store = _Counting(store)
    tokens = ApiTokens(token_store)
    unknown = [ApiToken.new().text for _ in range(1000)]

    async def refused(token: str) -> None:
        with pytest.raises(UnauthenticatedError):
            await tokens.verify(token)

    await asyncio.gather(*map(refused, unknown))
    assert token_store.reads <= 5
    before = token_store.reads
    await asyncio.gather(*map(refused, unknown))
    assert token_store.reads == before


async def test_a_known_token_is_read_once_a_second(store: TaskStore) -> None:
    """Requests with one token do not read MongoDB each, and share the principal with its visibility."""
    token_store = _Counting(store)
    tokens = ApiTokens(token_store)
    token = ApiToken.new()
    await token_store.create(_stored(token))
    principals = [await tokens.verify(token.text) for _ in range(20)]
    assert token_store.reads <= 3
    assert len({id(principal) for principal in principals}) <= token_store.reads


def _stored(token: ApiToken) -> StoredToken:
    grant = {"scopes": ["TASKS_READ"]}
    return StoredToken(token.id, token.hash, "test", "alice", None, grant, datetime.now(UTC), None, None)


async def test_the_last_use_is_stored_once_a_minute(store: TaskStore) -> None:
    """The use of a token is written beside requests, and not again for each of them."""
    token_store = TokenStore(store)
    tokens = ApiTokens(token_store)
    token = ApiToken.new()
    await token_store.create(_stored(token))
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    await tokens.verify(token.text)
    assert (await token_store.page(None, 10, None))[0].last_used_at is None
    await tokens.flush()
    first = (await token_store.page(None, 10, None))[0].last_used_at
    assert first is not None
    assert first > before
    await tokens.verify(token.text)
    await tokens.flush()
    assert (await token_store.page(None, 10, None))[0].last_used_at == first
    soon = ApiTokens(token_store, use_seconds=0.0)
    await soon.verify(token.text)
    await soon.flush()
    assert ((await token_store.page(None, 10, None))[0].last_used_at or first) > first


async def test_an_outage_lets_nobody_in_and_throws_nobody_out(
    databases: Databases,
    settings: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While MongoDB is away a token is neither valid nor revoked; a revocation of that time is found after it."""
    with (tmp_path / "log").open("wb") as log, Proxy({"mongodb": databases.mongodb.port}, log) as proxy:
        behind = settings.model_copy(
            update={
                "mongodb_url": f"mongodb://127.0.0.1:{proxy.port('mongodb')}/?directConnection=true",
                "access_secret": "s" * 32,
            }
        )
        app = create_app(behind)
        async with open_services(behind) as services:
            app.state.services = services
            door = _Door(Front(app))
            token = await door.api_token()
            token_id = str((await door.principal(token)).token_id)
            ended = asyncio.Event()
            door.revocations.watch(token_id, ended.set)
            # Until now calls may have taken their time on a loaded machine.
            monkeypatch.setattr(services.store.limiter, "_seconds", 0.5)
            proxy.set("mongodb", Mode.REFUSE)

            async def is_found_out() -> bool:
                return "revocations of tokens are found later" in caplog.text

            await wait_until_async(is_found_out)
            with pytest.raises(PyMongoError):
                await door.principal(token)
            # A token that needs no MongoDB is valid.
            assert (await door.principal(await door.access_token(_ROOT))).subject == "root"
            with MongoClient[Document](settings.mongodb_url) as client:
                tokens = client[settings.mongodb_database][api_tokens.COLLECTION]
                tokens.update_one(*api_tokens.revoke(token_id, None, None))
            assert not ended.is_set()
            proxy.set("mongodb", Mode.OK)
            await asyncio.wait_for(ended.wait(), 20)


async def test_an_access_token_is_narrower_than_its_maker(door: _Door) -> None:
    """Filter, names, metadata, queues, tenant and expiry of the maker hold for the token, and those of its maker's."""
    expires_at = datetime.now(UTC) + timedelta(seconds=100)
    maker = Principal(
        "alice",
        frozenset({Scope.TASKS_READ, Scope.TASKS_CREATE}),
        "acme",
        read_token_filter({"queues": ["fast"]}),
        Restrictions(frozenset({"add", "mul"}), frozenset({"fast"}), 3, 60.0, {"team": "a"}),
        expires_at,
    )
    token = await door.access_token(
        maker,
        scopes=["TASKS_CREATE"],
        filter={"metadata": [{"path": "customer", "eq": "c-42"}]},
        names=["mul", "pow"],
        metadata={"team": "b", "customer": "c-42"},
    )
    principal = await door.principal(token)
    assert (principal.subject, principal.tenant) == ("alice", "acme")
    assert principal.scopes == {Scope.TASKS_CREATE}
    assert principal.filter is not None
    assert [*principal.filter.all_of] == [
        read_token_filter({"queues": ["fast"]}),
        read_token_filter({"metadata": [{"path": "customer", "eq": "c-42"}]}),
    ]
    assert principal.restrictions == Restrictions(
        frozenset({"mul"}), frozenset({"fast"}), 3, 60.0, {"team": "a", "customer": "c-42"}
    )
    assert principal.expires_at == expires_at.replace(microsecond=0)
    second = await door.principal(await door.access_token(principal, scopes=["TASKS_CREATE"]))
    assert (second.filter, second.restrictions) == (principal.filter, principal.restrictions)
    assert second.expires_at == principal.expires_at
    assert second.token_id == principal.token_id


@pytest.mark.parametrize(
    ("input_", "field", "message"),
    [
        ({"scopes": ["ADMIN"]}, ["input", "scopes"], "does not have the scope ADMIN"),
        ({"scopes": []}, ["input", "scopes"], "at least one"),
        ({"filter": {"statuses": ["QUEUED"]}}, ["input", "filter", "statuses"], "is not allowed"),
        ({"filter": {"metadata": [{"path": "a\\b"}]}}, ["input", "filter", "metadata", "0", "path"], "backslash"),
        ({"names": ["pow"]}, ["input", "names"], "none of these"),
        ({"metadata": [1]}, ["input", "metadata"], "must be an object"),
        ({"metadata": {"a": "x" * 5000}}, ["input"], "at most 4096"),
        ({"expiresInSeconds": 3601}, ["input", "expiresInSeconds"], "from 1 to 3600"),
        ({"expiresInSeconds": 0}, ["input", "expiresInSeconds"], "from 1 to 3600"),
    ],
    ids=str,
)
async def test_more_than_the_makers_is_refused(
    door: _Door, input_: dict[str, Any], field: list[str], message: str
) -> None:
    """What a maker does not have, and what is invalid, is refused with the path of the field."""
    maker = Principal("alice", frozenset({Scope.TASKS_READ}), restrictions=Restrictions(frozenset({"add"})))
    payload = await door.payload(maker, _MINT, input={"scopes": ["TASKS_READ"], **input_})
    assert payload["token"] is None
    (error,) = payload["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", field)
    assert message in error["message"]


async def test_tenants_manage_their_own_tokens(door: _Door) -> None:
    """An administrator of a tenant makes, sees and revokes tokens of this tenant only."""
    acme = Principal("ada", frozenset({Scope.ADMIN, Scope.TASKS_READ}), "acme")
    own = await door.principal(await door.api_token(acme))
    assert own.tenant == "acme"
    foreign = await door.principal(await door.api_token(tenant="other"))
    global_ = await door.principal(await door.api_token())
    for tenant in ("other", ""):
        payload = await door.payload(
            acme, _CREATE, input={"name": "x", "subject": "x", "scopes": ["ADMIN"], "tenant": tenant}
        )
        assert payload["userErrors"][0]["field"] == ["input", "tenant"]
    assert [node["id"] for node in (await door.payload(acme, _LIST))["nodes"]] == [own.token_id]
    for token_id in (foreign.token_id, global_.token_id, "gqt_x", "\ud800"):
        payload = await door.payload(acme, _REVOKE, id=token_id)
        assert payload == {"apiToken": None, "userErrors": [{"code": "NOT_FOUND", "field": ["id"]}]}
    everything = (await door.payload(_ROOT, _LIST))["nodes"]
    assert {node["id"] for node in everything} == {own.token_id, foreign.token_id, global_.token_id}


async def test_a_token_does_not_outlive_the_token_that_made_it(door: _Door) -> None:
    """The holder of a token of ours cannot make a lasting one; an administrator who logged in elsewhere can."""
    token = await door.api_token(scopes=["ADMIN"], expiresInSeconds=600)
    admin = await door.principal(token)
    for maker in (admin, await door.principal(await door.access_token(admin, scopes=["ADMIN"]))):
        made = await door.principal(await door.api_token(maker, scopes=["ADMIN"], expiresInSeconds=None))
        assert made.expires_at is not None
        assert maker.expires_at is not None
        assert made.expires_at <= maker.expires_at
    login = Principal("root", ALL_SCOPES, expires_at=datetime.now(UTC) + timedelta(seconds=60), token_id="session")  # noqa: S106 - an id
    assert (await door.principal(await door.api_token(login, expiresInSeconds=None))).expires_at is None


async def test_the_audit_log_names_new_tokens(door: _Door) -> None:
    """An entry has the id of the token that it is about, with which the calls of that token are found."""
    ids = {(await door.principal(await make(_ROOT))).token_id for make in (door.api_token, door.access_token)}
    log = "{ auditLog { nodes { operation target } } }"
    targets = {node["operation"]: node["target"] for node in (await door.payload(_ROOT, log))["nodes"]}
    assert targets.keys() == {"createApiToken", "createAccessToken"}
    assert set(targets.values()) == ids


async def test_an_administrator_with_a_filter_does_not_manage_tokens(door: _Door) -> None:
    """Its token sees some tasks only, and is no key to the tokens of all others."""
    narrow = Principal("ada", ALL_SCOPES, filter=TaskFilter(names=["add"]))
    for document, variables in ((_REVOKE, {"id": "x"}), (_LIST, {})):
        message, code = await door.refusal(narrow, document, **variables)
        assert ("filter" in message, code) == (True, "FORBIDDEN")


async def test_only_administrators_manage_tokens(door: _Door) -> None:
    """Without ADMIN, and without authentication, tokens can be neither made nor seen nor revoked."""
    reader = Principal("alice", ALL_SCOPES - {Scope.ADMIN})
    input_ = {"name": "x", "subject": "x", "scopes": ["TASKS_READ"]}
    for document, variables in ((_CREATE, {"input": input_}), (_REVOKE, {"id": "x"}), (_LIST, {})):
        message, code = await door.refusal(reader, document, **variables)
        assert "needs the scope ADMIN" in message
        assert code == "FORBIDDEN"
        assert (await door.refusal(ANONYMOUS, document, **variables))[1] == "FORBIDDEN"
    message, code = await door.refusal(ANONYMOUS, _MINT, input={"scopes": ["ADMIN"]})
    assert (code, "no authentication" in message) == ("FORBIDDEN", True)


async def test_access_tokens_need_a_secret(front: Front) -> None:
    """Without ACCESS_SECRET the error says which setting is missing."""
    message, code = await _Door(front).refusal(_ROOT, _MINT, input={"scopes": ["ADMIN"]})
    assert (code, "ACCESS_SECRET" in message) == ("FORBIDDEN", True)


async def test_tokens_are_listed_in_pages(door: _Door) -> None:
    """Pages follow each other without gaps, the newest first, and a wrong cursor is refused."""
    ids = [str((await door.principal(await door.api_token(name=f"{number}"))).token_id) for number in range(5)]
    listed, after = [], None
    while True:
        page = await door.payload(_ROOT, _LIST, first=2, after=after)
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        assert [edge["node"]["id"] for edge in page["edges"]] == [node["id"] for node in page["nodes"]]
        listed += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert {node["id"] for node in listed} == set(ids)
    assert len(listed) == 5
    for cursor in ("x", "é", "W10=", json.dumps([])):
        assert (await door.refusal(_ROOT, _LIST, after=cursor))[1] == "BAD_USER_INPUT"
    assert (await door.refusal(_ROOT, _LIST, first=0))[1] == "BAD_USER_INPUT"


@pytest.mark.parametrize(
    ("input_", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"subject": "x" * 256}, "subject"),
        ({"expiresInSeconds": 0}, "expiresInSeconds"),
        ({"minPriority": 10}, "minPriority"),
        ({"maxTimeLimitSeconds": 0.0}, "maxTimeLimitSeconds"),
    ],
    ids=str,
)
async def test_the_texts_and_numbers_of_a_token_are_checked(door: _Door, input_: dict[str, Any], field: str) -> None:
    """A token with an invalid name, subject, time or number is not made."""
    valid = {"name": "x", "subject": "x", "scopes": ["TASKS_READ"]}
    payload = await door.payload(_ROOT, _CREATE, input={**valid, **input_})
    assert [error["field"] for error in payload["userErrors"]] == [["input", field]]
    assert payload["token"] is None


async def test_tokens_are_read_from_the_primary(settings: Settings) -> None:
    """A secondary may not know yet that a token is revoked; here there is none, and no read waits for one."""
    separator = "&" if "?" in settings.mongodb_url else "/?"
    url = f"{settings.mongodb_url}{separator}readPreference=secondary"
    store = TaskStore(settings.model_copy(update={"mongodb_url": url}))
    try:
        assert await TokenStore(store).read(["gqt_1"]) == [None]
        assert await TokenStore(store).valid(["gqt_1"]) == set()
    finally:
        await store.close()
