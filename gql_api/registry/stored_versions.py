"""The versions of a task function in its stored definition: the newest deployed one counts, whoever announces last."""

from __future__ import annotations

from dataclasses import dataclass

from gql_api.record import fields as f
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, Update, Write

_VERSIONS = "versions"
_DIGEST = "digest"
_SINCE = "since"
_SEEN_AT = "seen_at"
_RECENT = "recent"
# A version is deployed anew when it comes back after this time, and not when one of its workers restarts.
_GONE_MS = 3600 * 1000
# Workers report the versions that they run so often: some times within that.
REPORT_SECONDS = 600.0
_MAX_VERSIONS = 20
# A definition that is larger with them has so many: the API leaves out one of more than MAX_BYTES.
_FEW_VERSIONS = 3
MAX_BYTES = 1024 * 1024
"""The maximum size of a definition with its versions, in BSON."""


def announced(digest: str, changes: Document) -> Update:
    """Return the update that adds a version to a definition, and makes it the version that counts if it is the newest.

    Args:
        digest: the digest of its signature.
        changes: the fields of the definition, as expressions.
    """
    stored = {"$ifNull": [f"${_VERSIONS}", []]}
    own = {"$first": {"$filter": {"input": stored, "cond": {"$eq": [f"$$this.{_DIGEST}", digest]}}}}
    others = {"$filter": {"input": stored, "cond": {"$ne": [f"$$this.{_DIGEST}", digest]}}}
    is_back = {"$gt": [f"$$own.{_SEEN_AT}", {"$subtract": [NOW, _GONE_MS]}]}
    version = {**changes, _DIGEST: digest, _SEEN_AT: NOW, _SINCE: {"$cond": [is_back, f"$$own.{_SINCE}", NOW]}}
    added = {"$let": {"vars": {"own": own}, "in": {"$concatArrays": [others, [version]]}}}
    # The last one is the one that was just announced.
    is_newest = {"$eq": [{"$max": f"${_VERSIONS}.{_SINCE}"}, {"$last": f"${_VERSIONS}.{_SINCE}"}]}
    counts = {name: {"$cond": [is_newest, value, f"${name}"]} for name, value in changes.items()}
    is_large = {"$gt": [{"$bsonSize": "$$ROOT"}, MAX_BYTES // 2]}
    kept = {"$slice": [f"${_VERSIONS}", {"$cond": [is_large, -_FEW_VERSIONS, -_MAX_VERSIONS]}]}
    return [
        {"$set": {_VERSIONS: {"$slice": [added, -_MAX_VERSIONS]}}},
        {"$set": counts},
        {"$set": {_VERSIONS: kept}},
    ]


def seen(names: list[str], digests: list[str]) -> Write:
    """Note that a worker runs these versions of functions. Run over many."""
    noted = {"$mergeObjects": ["$$this", {_SEEN_AT: NOW}]}
    is_own = {"$in": [f"$$this.{_DIGEST}", digests]}
    versions = {"$map": {"input": f"${_VERSIONS}", "in": {"$cond": [is_own, noted, "$$this"]}}}
    filter_ = {f.ID: {"$in": names}, f"{_VERSIONS}.{_DIGEST}": {"$in": digests}}
    return filter_, [{"$set": {_VERSIONS: versions}}]


def versions_of(definition: Document) -> list[Document]:
    """Return the versions of a stored definition, the newest first."""
    return sorted(definition.get(_VERSIONS, ()), key=lambda version: version[_SINCE], reverse=True)


def digest_of(version: Document) -> str:
    """Read the digest of one of :func:`versions_of`."""
    return str(version[_DIGEST])


@dataclass(frozen=True, slots=True)
class VersionOrder:
    """The digests of a function, the newest first; ``recent`` are those that a worker had a moment ago."""

    name: str
    newest_first: list[str]
    recent: list[str]


def order(names: list[str], recent_seconds: float) -> list[Document]:
    """Return the aggregation over DEFINITIONS that reads the order of the versions of some functions."""
    is_recent = {"$gt": [f"$$this.{_SEEN_AT}", {"$subtract": [NOW, round(recent_seconds * 1000)]}]}
    recent = {"$filter": {"input": {"$ifNull": [f"${_VERSIONS}", []]}, "cond": is_recent}}
    read = {f"{_VERSIONS}.{_DIGEST}": 1, f"{_VERSIONS}.{_SINCE}": 1, _RECENT: recent}
    return [{"$match": {f.ID: {"$in": names}}}, {"$project": read}]


def order_from(document: Document) -> VersionOrder:
    """Read one row of :func:`order`."""
    return VersionOrder(
        document[f.ID],
        [digest_of(version) for version in versions_of(document)],
        [digest_of(version) for version in document[_RECENT]],
    )
