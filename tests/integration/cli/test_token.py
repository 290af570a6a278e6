"""The command that creates, lists and revokes API tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from pymongo import MongoClient
from pymongo.collection import Collection

from gql_api.access.api_tokens import ApiToken
from gql_api.access.principal import Restrictions, Scope
from gql_api.access.token_filter import read_token_filter
from gql_api.api.authentication.authenticator import UnauthenticatedError
from gql_api.api.authentication.issued.api_tokens import ApiTokens
from gql_api.api.authentication.issued.token_store import TokenStore
from gql_api.api.store.tasks import TaskStore
from gql_api.cli.main import main
from gql_api.record.reads import CODEC, Document
from gql_api.registry import api_tokens
from gql_api.settings import Settings

Token = Callable[..., Result]


@pytest.fixture
def token(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Token:
    """Run the command in this process."""
    monkeypatch.setenv("MONGODB_URL", settings.mongodb_url)
    monkeypatch.setenv("MONGODB_DATABASE", settings.mongodb_database)
    return lambda *options: CliRunner().invoke(main, ["token", *options])


@pytest.fixture
def stored(settings: Settings) -> Iterator[Collection[Document]]:
    """The collection of tokens."""
    with MongoClient[Document](settings.mongodb_url) as client:
        yield client[settings.mongodb_database].get_collection(api_tokens.COLLECTION, codec_options=CODEC)


@pytest.fixture
async def tokens(store: TaskStore) -> ApiTokens:
    """The verifier of the API."""
    return ApiTokens(TokenStore(store))


async def test_the_first_administrator_gets_a_token(token: Token, tokens: ApiTokens) -> None:
    """On a database without anything, the command prints a token that the API accepts, and nothing else."""
    made = token("create", "admin", "--subject", "alice", "--scopes", "ADMIN,OPERATE")
    assert made.exit_code == 0, made.output
    text = made.stdout.strip()
    parsed = ApiToken.parse(text)
    assert parsed is not None
    assert made.stdout == f"{text}\n"
    assert parsed.id in made.stderr
    principal = await tokens.verify(text)
    assert (principal.subject, principal.tenant, principal.filter) == ("alice", None, None)
    assert principal.scopes == {Scope.ADMIN, Scope.OPERATE}
    listed = token("list").output
    assert parsed.id in listed
    assert "valid" in listed
    assert text not in listed


async def test_a_token_has_what_the_options_say(token: Token, tokens: ApiTokens, stored: Collection[Document]) -> None:
    """Each option restricts the token, and MongoDB never has the secret."""
    filter_ = {"metadata": [{"path": "customer", "eq": "c-42"}]}
    options = {
        "--subject": "alice",
        "--tenant": "acme",
        "--scopes": "TASKS_READ, TASKS_CREATE",
        "--filter": json.dumps(filter_),
        "--names": "add,mul",
        "--queues": "fast",
        "--min-priority": "3",
        "--max-time-limit": "60",
        "--metadata": '{"customer": "c-42"}',
        "--expires": "12h",
    }
    made = token("create", "web", *[part for option in options.items() for part in option])
    assert made.exit_code == 0, made.output
    principal = await tokens.verify(made.stdout.strip())
    assert (principal.subject, principal.tenant) == ("alice", "acme")
    assert principal.scopes == {Scope.TASKS_READ, Scope.TASKS_CREATE}
    assert principal.filter == read_token_filter(filter_)
    assert principal.restrictions == Restrictions(
        frozenset({"add", "mul"}), frozenset({"fast"}), 3, 60.0, {"customer": "c-42"}
    )
    (found,) = map(api_tokens.token_from, stored.find())
    assert found.expires_at is not None
    assert (found.expires_at - found.created_at).total_seconds() == pytest.approx(12 * 3600, abs=0.01)
    assert made.stdout.strip()[24:] not in repr(stored.find_one())


async def test_a_revoked_token_is_not_valid(token: Token, tokens: ApiTokens) -> None:
    """A revoked token is listed as such, and the API refuses it; an unknown id is an error."""
    text = token("create", "x", "--subject", "alice", "--scopes", "ADMIN", "--expires", "never").stdout.strip()
    parsed = ApiToken.parse(text)
    assert parsed is not None
    assert token("revoke", parsed.id).output == f"{parsed.id} is revoked\n"
    with pytest.raises(UnauthenticatedError):
        await tokens.verify(text)
    assert "revoked" in token("list").output
    unknown = token("revoke", "gqt_x")
    assert unknown.exit_code == 1
    assert unknown.output == "Error: no token has the id 'gqt_x'; gql-api token list shows the ids\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scopes", "FLY"], "--scopes: 'FLY' is not one of TASKS_READ"),
        (["--scopes", ","], "scopes: at least one scope is needed"),
        (["--scopes", "ADMIN", "--filter", "x"], "is not JSON"),
        (["--scopes", "ADMIN", "--filter", '{"statuses": []}'], "filter.statuses: is not allowed"),
        (["--scopes", "ADMIN", "--metadata", "[]"], "metadata: must be an object"),
        (["--scopes", "ADMIN", "--expires", "soon"], "expected a number with s, m, h or d"),
        (["--scopes", "ADMIN", "--expires", "0s"], "expiresInSeconds: must be from 1"),
        (["--scopes", "ADMIN", "--subject", ""], "subject: must have from 1 to 255"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_one_line(token: Token, stored: Collection[Document], options: list[str], message: str) -> None:
    """A wrong option is named, and nothing is stored."""
    made = token("create", "x", "--subject", "alice", *options)
    assert made.exit_code == 2
    assert message in made.output
    assert stored.find_one() is None


def test_mongodb_is_away(token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MongoDB the command fails with a message."""
    monkeypatch.setenv("MONGODB_URL", "mongodb://127.0.0.1:1")
    monkeypatch.setenv("STORE_TIMEOUT_SECONDS", "0.1")
    listed = token("list")
    assert listed.exit_code == 1
    assert listed.output.startswith("Error: 127.0.0.1:1")
