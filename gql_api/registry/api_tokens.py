"""The collection of API tokens: what is stored of each, and the reads and writes. It never has a token itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import IndexModel, UpdateOne

from gql_api.record import fields as f
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, Write

COLLECTION = "api_tokens"

_HASH = "hash"
_SUBJECT = "subject"
_TENANT = f.TENANT
# The scopes, the filter and the restrictions, as JSON text: a filter has keys that MongoDB must not interpret.
_GRANT = "grant"
_CREATED_BY = "created_by"
_LAST_USED_AT = "last_used_at"
_REVOKED_AT = "revoked_at"
_REVOKED_BY = "revoked_by"

_NEWEST_FIRST = [(f.CREATED_AT, -1), (f.ID, -1)]
INDEXES = [IndexModel(_NEWEST_FIRST), IndexModel([(_TENANT, 1), *_NEWEST_FIRST])]


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A stored API token.

    Attributes:
        id: the id, with which the token begins.
        hash: the SHA-256 of the token.
        name: a text that says what the token is for.
        grant: what the token allows, in the form of :mod:`gql_api.access.grants`.
    """

    id: str
    hash: bytes
    name: str
    subject: str
    tenant: str | None
    grant: Mapping[str, Any]
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


def document_of(token: StoredToken) -> Document:
    """Return the document of a new token."""
    return {
        f.ID: token.id,
        _HASH: token.hash,
        f.NAME: token.name,
        _SUBJECT: token.subject,
        _TENANT: token.tenant,
        _GRANT: json.dumps(token.grant),
        f.CREATED_AT: token.created_at,
        _CREATED_BY: token.created_by,
        f.EXPIRES_AT: token.expires_at,
    }


def token_from(document: Document) -> StoredToken:
    """Read a document."""
    return StoredToken(
        id=document[f.ID],
        hash=document[_HASH],
        name=document[f.NAME],
        subject=document[_SUBJECT],
        tenant=document[_TENANT],
        grant=json.loads(document[_GRANT]),
        created_at=document[f.CREATED_AT],
        created_by=document[_CREATED_BY],
        expires_at=document[f.EXPIRES_AT],
        last_used_at=document.get(_LAST_USED_AT),
        revoked_at=document.get(_REVOKED_AT),
    )


def by_ids(ids: Sequence[str]) -> Document:
    """Return the filter that finds tokens by their ids."""
    return {f.ID: {"$in": list(ids)}}


def not_revoked(ids: Sequence[str]) -> Document:
    """Return the filter that finds those of some tokens that exist and are not revoked."""
    return {**by_ids(ids), _REVOKED_AT: None}


ID_ONLY = {f.ID: 1}


def id_of(document: Document) -> str:
    """Return the id of a token that was read with :data:`ID_ONLY`."""
    return str(document[f.ID])


def page(tenant: str | None, after: tuple[datetime, str] | None) -> Document:
    """Return the filter of the tokens of a tenant, or of all, behind a position in :func:`newest_first`."""
    query: Document = {} if tenant is None else {_TENANT: tenant}
    if after is not None:
        created_at, id_ = after
        earlier = {f.CREATED_AT: {"$lt": created_at}}
        query["$or"] = [earlier, {f.CREATED_AT: created_at, f.ID: {"$lt": id_}}]
    return query


def newest_first() -> list[tuple[str, int]]:
    """Return the order of tokens in lists."""
    return list(_NEWEST_FIRST)


def revoke(id_: str, tenant: str | None, by: str | None) -> Write:
    """Revoke a token of a tenant, or of any. The time of the first revocation stays."""
    first = {"$ifNull": [f"${_REVOKED_AT}", NOW]}
    revoker = {"$cond": [{"$gt": [f"${_REVOKED_AT}", None]}, f"${_REVOKED_BY}", {"$literal": by}]}
    filter_ = {f.ID: id_} if tenant is None else {f.ID: id_, _TENANT: tenant}
    return filter_, [{"$set": {_REVOKED_AT: first, _REVOKED_BY: revoker}}]


def used(times: Mapping[str, datetime]) -> list[UpdateOne]:
    """Return the writes that store when tokens were last used."""
    return [UpdateOne({f.ID: id_}, {"$max": {_LAST_USED_AT: time}}) for id_, time in times.items()]
