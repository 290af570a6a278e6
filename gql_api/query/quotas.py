"""The queries that find what counts for the quotas of an owner or a tenant."""

from __future__ import annotations

from typing import Any

from pymongo import IndexModel

from gql_api.record import control
from gql_api.record import fields as f
from gql_api.record.logs import LOGGED_BYTES
from gql_api.record.reads import Document

TOTAL = "total"

_UNFINISHED = sorted(set(f.Status) - f.FINAL)

# It has unfinished tasks only, so that the count for a quota reads no more than the owner's. A task enters it when it
# is created and leaves it when it ends; no change between the two touches it.
OPEN_INDEX = IndexModel(
    [(f.TENANT, 1), (f.OWNER, 1)], name="open_by_owner", partialFilterExpression={f.STATUS: {"$in": _UNFINISHED}}
)


def of_owner(tenant: str | None, owner: str) -> Document:
    """Return the query of the tasks of an owner."""
    return {f.TENANT: tenant, f.OWNER: owner}


def of_tenant(tenant: str) -> Document:
    """Return the query of the tasks of a tenant."""
    return {f.TENANT: tenant}


def unfinished(query: Document) -> Document:
    """Return the query of those tasks that have not ended."""
    return {**query, f.STATUS: {"$in": _UNFINISHED}}


def with_keys(keys: list[tuple[str | None, str, str]]) -> Document:
    """Return the query of the tasks that have one of some idempotency keys, each with its space and its name."""
    return {"$or": [control.with_key(space, name, key) for space, name, key in keys]}


def stored_bytes(query: Document) -> list[dict[str, Any]]:
    """Return the pipeline that adds up the sizes of the records of a query, and of the log lines of their tasks."""
    logged = {"$ifNull": [f"${LOGGED_BYTES}", 0]}
    size = {"$add": [{"$bsonSize": "$$ROOT"}, logged]}
    return [{"$match": query}, {"$group": {f.ID: None, TOTAL: {"$sum": size}}}]
