"""How answers become JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import graphql
import orjson
from strawberry.types import ExecutionResult

_SORTED = orjson.OPT_NAIVE_UTC | orjson.OPT_SORT_KEYS


def write_time(time: datetime) -> str:
    """Write a time; one without an offset is UTC. orjson does the same."""
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).isoformat()


def encode(value: object, *, sort_keys: bool = False) -> bytes:
    """Write JSON, and times as :func:`write_time` does.

    What orjson has no room for, integers beyond 64 bits in a result, Python's own writer has.
    """
    try:
        return orjson.dumps(value, option=_SORTED if sort_keys else orjson.OPT_NAIVE_UTC)
    except TypeError:
        text = json.dumps(value, separators=(",", ":"), sort_keys=sort_keys, default=write_time)
        return text.encode()


def encode_result(result: ExecutionResult | graphql.ExecutionResult) -> bytes:
    """Write the result of an operation as a GraphQL response."""
    response: dict[str, object] = {"data": result.data}
    if result.errors:
        response["errors"] = [error.formatted for error in result.errors]
    if result.extensions:
        response["extensions"] = result.extensions
    return encode(response)
