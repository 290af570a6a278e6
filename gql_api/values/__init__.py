"""JSON values in BSON.

``encoding`` converts them and checks what a caller sent, ``paths`` addresses values within values, ``operations``
changes them by path, ``problems`` has the report of what is wrong with a value and the error that carries it,
``plain`` makes plain JSON of typed values, ``ordinary`` finds those with nothing to report, ``texts`` cuts them to a
size.
"""

from __future__ import annotations

from gql_api.values.encoding import MAX_DEPTH, MAX_KEYS, check, dump, escape_key, is_number, is_text, load, load_finite
from gql_api.values.ordinary import is_ordinary
from gql_api.values.plain import plain
from gql_api.values.problems import MAX_PROBLEMS, InvalidValueError, Path, Problem

__all__ = [
    "MAX_DEPTH",
    "MAX_KEYS",
    "MAX_PROBLEMS",
    "InvalidValueError",
    "Path",
    "Problem",
    "check",
    "dump",
    "escape_key",
    "is_number",
    "is_ordinary",
    "is_text",
    "load",
    "load_finite",
    "plain",
]
