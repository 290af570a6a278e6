"""Write answers as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import graphql
import orjson
from strawberry.types import ExecutionResult

from gql_api.values.plain import finite

_SORTED = orjson.OPT_NAIVE_UTC | orjson.OPT_SORT_KEYS
# orjson leaves this much memory allocated behind a shorter result, and each of thousands of sockets keeps some of them.
_BLOCK = 4096


def write_time(time: datetime) -> str:
    """Write a time as orjson does; a time without an offset is UTC."""
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).isoformat()


def encode(value: object, *, sort_keys: bool = False) -> bytes:
    """Write a value as JSON, with times as :func:`write_time` writes them."""
    try:
        encoded = orjson.dumps(value, option=_SORTED if sort_keys else orjson.OPT_NAIVE_UTC)
    except TypeError:  # orjson refuses integers of more than 64 bits and lone surrogates; json accepts them
        # json would write NaN too, which is not JSON.
        text = json.dumps(
            finite(value), separators=(",", ":"), sort_keys=sort_keys, default=write_time, allow_nan=False
        )
        return text.encode()
    return bytes(memoryview(encoded)) if len(encoded) < _BLOCK else encoded


def encode_result(result: ExecutionResult | graphql.ExecutionResult) -> bytes:
    """Write the result of an operation as a GraphQL response."""
    response: dict[str, object] = {"data": result.data}
    if result.errors:
        response["errors"] = [error.formatted for error in result.errors]
    if result.extensions:
        response["extensions"] = result.extensions
    return encode(response)
