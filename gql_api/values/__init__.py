"""JSON values in BSON: escaped, addressed by paths and changed by operations."""

from __future__ import annotations

from gql_api.values.encoding import (
    MAX_DEPTH,
    MAX_KEYS,
    MAX_PROBLEMS,
    Path,
    Problem,
    check,
    dump,
    escape_key,
    is_text,
    load,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_KEYS",
    "MAX_PROBLEMS",
    "Path",
    "Problem",
    "check",
    "dump",
    "escape_key",
    "is_text",
    "load",
]
