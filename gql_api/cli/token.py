"""The commands ``gql-api token``: API tokens without the API, such as the first one of an administrator."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from gql_api.access.grants import Grant, shown_grant
from gql_api.access.narrowing import GrantInput, narrowed
from gql_api.access.new_tokens import NewToken
from gql_api.access.principal import ALL_SCOPES, UNRESTRICTED, Scope
from gql_api.access.token_filter import read_token_filter
from gql_api.record.reads import CODEC, Document
from gql_api.registry import api_tokens
from gql_api.registry.api_tokens import StoredToken
from gql_api.settings import Settings, SettingsError
from gql_api.values import InvalidValueError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
# The grant of somebody who may write to MongoDB.
_EVERYTHING = Grant(ALL_SCOPES, None, UNRESTRICTED)


class _Names(click.ParamType[list[str]]):
    name = "NAME,NAME"

    def convert(self, value: Any, _parameter: click.Parameter | None, _context: click.Context | None) -> list[str]:
        """Split a list."""
        return [name for part in str(value).split(",") if (name := part.strip())]


class _Json(click.ParamType[Any]):
    name = "JSON"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Parse JSON."""
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            self.fail(f"is not JSON: {error}", parameter, context)


class _Expiry(click.ParamType[int | None]):
    name = "TIME"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int | None:
        """Read a time as seconds; None for never."""
        if value == "never":
            return None
        match = _DURATION.fullmatch(str(value))
        if match is None:
            self.fail(f"expected a number with s, m, h or d, like 90d, or never, got {value!r}", parameter, context)
        return int(match[1]) * _UNITS[match[2]]


@click.group()
def token() -> None:
    """Create, list and revoke API tokens in MongoDB."""


@token.command()
@click.argument("name")
@click.option(
    "--subject", required=True, help="The subject that the holder acts as: the owner of the tasks that it creates."
)
@click.option(
    "--scopes",
    type=_Names(),
    required=True,
    help=f"What the token may be used for, by commas: {', '.join(Scope)}.",
)
@click.option("--tenant", help="The tenant of the subject. A token with ADMIN and without a tenant sees all tasks.")
@click.option("--filter", "filter_", type=_Json(), help="The tasks that it sees, as the GraphQL input TaskFilter.")
@click.option("--names", type=_Names(), help="The names of the tasks that it may create, by commas; all by default.")
@click.option("--queues", type=_Names(), help="The queues into which it may create them, by commas; all by default.")
@click.option("--min-priority", type=click.IntRange(0, 9), help="The most urgent priority that it may give them.")
@click.option("--max-time-limit", type=float, help="Their longest time limit, in seconds.")
@click.option("--metadata", type=_Json(), help="A JSON object that is merged into their metadata.")
@click.option(
    "--expires", type=_Expiry(), default="90d", show_default=True, help="When it expires, like 90d or 12h, or never."
)
def create(
    name: str,
    subject: str,
    scopes: list[str],
    tenant: str | None,
    filter_: Any,
    names: list[str] | None,
    queues: list[str] | None,
    min_priority: int | None,
    max_time_limit: float | None,
    metadata: Any,
    expires: int | None,
) -> None:
    """Create a token for the purpose NAME, and print it once: MongoDB has its hash only.

    For the first administrator of a new deployment, use --scopes TASKS_READ,TASKS_CREATE,TASKS_CONTROL,OPERATE,ADMIN:
    the token can make other tokens only with scopes of its own.
    """
    unknown = [scope for scope in scopes if scope not in list(Scope)]
    if unknown:
        raise click.UsageError(f"--scopes: {unknown[0]!r} is not one of {', '.join(Scope)}")
    new = NewToken(name, subject, tenant, expires)
    settings = _settings()
    try:
        new.check()
        asked = GrantInput(
            scopes=[Scope(scope) for scope in scopes],
            filter=None if filter_ is None else _read_filter(filter_),
            names=names,
            queues=queues,
            min_priority=min_priority,
            max_time_limit_seconds=max_time_limit,
            metadata=metadata,
        )
        made, stored = new.make(narrowed(_EVERYTHING, asked, settings), None, None)
    except InvalidValueError as error:
        raise click.UsageError(str(error)) from None
    with _collection(settings) as tokens:
        tokens.insert_one(api_tokens.document_of(stored))
    # Only the token goes to the standard output, for scripts.
    click.echo(f"{stored.id} expires {_shown(stored.expires_at)}. Keep the token: it is not shown again.", err=True)
    click.echo(made.text)


@token.command("list")
def list_() -> None:
    """List the tokens, the newest first: id, state, subject, tenant, scopes, last use, expiry, name."""
    with _collection(_settings()) as tokens:
        found = map(api_tokens.token_from, tokens.find().sort(api_tokens.newest_first()))
        for stored in found:
            scopes = ",".join(sorted(shown_grant(stored.grant).scopes))
            times = f"used {_shown(stored.last_used_at)}  expires {_shown(stored.expires_at)}"
            tenant = "-" if stored.tenant is None else stored.tenant
            click.echo(f"{stored.id}  {_state(stored):7}  {stored.subject}  {tenant}  {scopes}  {times}  {stored.name}")


@token.command()
@click.argument("token_id")
def revoke(token_id: str) -> None:
    """Revoke the token with the id TOKEN_ID: it and all access tokens made with it end within two seconds."""
    with _collection(_settings()) as tokens:
        filter_, update = api_tokens.revoke(token_id, None, None)
        if not tokens.update_one(filter_, update).matched_count:
            raise click.ClickException(f"no token has the id {token_id!a}; gql-api token list shows the ids")
    click.echo(f"{token_id} is revoked")


def _read_filter(value: Any) -> Any:
    try:
        return read_token_filter(value)
    except InvalidValueError as error:
        raise InvalidValueError(*error.below("filter")) from None


def _settings() -> Settings:
    try:
        return Settings.load()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


@contextlib.contextmanager
def _collection(settings: Settings) -> Iterator[Collection[Document]]:
    timeout_ms = round(settings.store_timeout_seconds * 1000)
    try:
        with MongoClient[Document](
            settings.mongodb_url, serverSelectionTimeoutMS=timeout_ms, w="majority", appname="gql-api token"
        ) as client:
            database = client[settings.mongodb_database]
            yield database.get_collection(api_tokens.COLLECTION, codec_options=CODEC)
    except PyMongoError as error:
        raise click.ClickException(str(error)) from None


def _state(stored: StoredToken) -> str:
    if stored.revoked_at is not None:
        return "revoked"
    return "expired" if stored.expires_at is not None and stored.expires_at <= datetime.now(UTC) else "valid"


def _shown(time: datetime | None) -> str:
    return "never" if time is None else f"{time:%Y-%m-%dT%H:%M:%SZ}"
