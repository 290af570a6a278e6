"""The boundary between JSON and BSON: the form in which MongoDB stores a JSON value and returns it unchanged.

MongoDB gives a meaning to dots, dollar signs and empty names in keys, and PyMongo turns ``{"$ref", "$id"}`` into a
reference. Stored keys are therefore escaped: ``%`` becomes ``%25``, ``.`` ``%2E``, ``$`` ``%24``, and the empty key
``%``. A value that BSON cannot represent is stored as JSON text, under the one key that no escaped key can equal.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from bson import DBRef, json_util

from gql_api.values.plain import finite
from gql_api.values.problems import MAX_PROBLEMS, Path, Problem

_ESCAPES = {"%": "%25", ".": "%2E", "$": "%24"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}
_ESCAPABLE = re.compile(r"[%.$]")
_ESCAPED = re.compile(r"%25|%2E|%24")
_EMPTY_KEY = "%"
_TEXT_KEY = "%json"

MAX_DEPTH = 32
MAX_KEYS = 1000
# MongoDB refuses documents nested deeper than 100 levels; the record itself needs a few of them.
_MAX_STORED_DEPTH = 80
_JSON_TYPES: frozenset[type] = frozenset({str, int, float, bool, type(None)})
_FINITE_TYPES = _JSON_TYPES - {float}
_NO_JSON = object()
# ``json.dumps`` makes an encoder for each value.
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1


def dump(value: Any) -> Any:
    """Return the BSON form of a JSON value (dict, list, str, int, float, bool, None)."""
    return _escape(value) if _fits_bson(value, _MAX_STORED_DEPTH) else {_TEXT_KEY: json.dumps(value)}


def load(stored: Any) -> Any:
    """Return the JSON value of a BSON form made by :func:`dump`, or by another program: it never fails.

    A value that JSON has not, like a Decimal128, is returned as MongoDB's relaxed Extended JSON. Numbers that are not
    finite stay, for Celery makes the same values again; see :func:`load_finite`.
    """
    return _load(stored, _JSON_TYPES)


def load_finite(stored: Any) -> Any:
    """Do the same as :func:`load`, for values that go to clients: numbers that are not finite become texts."""
    return _load(stored, _FINITE_TYPES)


def _load(stored: Any, leaves: frozenset[type]) -> Any:
    if isinstance(stored, dict):
        if _TEXT_KEY in stored and (parsed := _from_text(stored[_TEXT_KEY])) is not _NO_JSON:
            return parsed if leaves is _JSON_TYPES else finite(parsed)
        # No call for what needs no change: the values of an answer are loaded in one go.
        return {
            _unescape_key(key) if "%" in key else key: item if type(item) in leaves else _load(item, leaves)
            for key, item in stored.items()
        }
    if isinstance(stored, list):
        return [item if type(item) in leaves else _load(item, leaves) for item in stored]
    if type(stored) in leaves or isinstance(stored, int):
        return stored
    return finite(stored) if isinstance(stored, float) else _extended(stored)


def _from_text(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return _NO_JSON


def _extended(value: Any) -> Any:
    if isinstance(value, DBRef):
        return load(dict(value.as_doc()))
    # Some of its forms contain BSON values again.
    return load(json_util.default(value, json_util.RELAXED_JSON_OPTIONS))


def escape_key(key: str) -> str:
    """Return the form of a key in MongoDB."""
    if not key:
        return _EMPTY_KEY
    return _ESCAPABLE.sub(lambda match: _ESCAPES[match[0]], key)


def _unescape_key(key: str) -> str:
    return "" if key == _EMPTY_KEY else _ESCAPED.sub(lambda match: _UNESCAPES[match[0]], key)


def _escape(value: Any) -> Any:
    if isinstance(value, dict):
        return {escape_key(key): _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return value


def _fits_bson(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(
            "\0" not in key and is_text(key) and _fits_bson(item, depth - 1) for key, item in value.items()
        )
    if isinstance(value, list):
        return depth > 0 and all(_fits_bson(item, depth - 1) for item in value)
    if isinstance(value, str):
        return is_text(value)
    return not isinstance(value, int) or _fits_int64(value)


def _fits_int64(value: int) -> bool:
    # Not ``in range(...)``: for PyMongo's Int64, a subclass of int, Python would count through the range.
    return MIN_INT64 <= value <= MAX_INT64


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a number; Python's booleans are integers too, but JSON's are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(text: str) -> bool:
    """Return whether UTF-8 can encode a string, which it cannot with a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check(
    value: Any, path: Path, max_bytes: int, *, max_depth: int = MAX_DEPTH, max_keys: int = MAX_KEYS
) -> list[Problem]:
    """Return the problems of a caller's value that could not be returned unchanged, at most :data:`MAX_PROBLEMS`.

    ``path`` is the place of the value in the input; the path of each problem begins with it.
    """
    if _deeper_than(value, max_depth):
        return [Problem(path, f"is nested more than {max_depth} levels deep", too_large=True)]
    size = len(_compact(value).encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        return [Problem(path, f"at most {max_bytes} bytes of JSON allowed, got {size}", too_large=True)]
    keys = _count_keys(value)
    if keys > max_keys:
        return [Problem(path, f"at most {max_keys} keys allowed, got {keys}", too_large=True)]
    return list(itertools.islice(_check(value, path), MAX_PROBLEMS))


def _deeper_than(value: Any, limit: int) -> bool:
    # Level by level rather than by recursion: the value may be nested deeper than Python can recurse.
    level = [value]
    for _ in range(limit + 1):
        level = [item for parent in level for item in _children(parent)]
        if not level:
            return False
    return True


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _count_keys(value: Any) -> int:
    own = len(value) if isinstance(value, dict) else 0
    return own + sum(_count_keys(item) for item in _children(value))


def _check(value: Any, path: Path) -> Iterator[Problem]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _check_key(key, path)
            yield from _check(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check(item, (*path, index))
    elif isinstance(value, str):
        if not is_text(value):
            yield Problem(path, "contains a lone surrogate, which is not a Unicode character")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield Problem(path, "is not a finite number, and JSON has no other")
    elif isinstance(value, int) and not _fits_int64(value):
        yield Problem(path, "is an integer beyond 64 bits; send it as a string")


def _check_key(key: str, path: Path) -> Iterator[Problem]:
    if "\0" in key:
        yield Problem(path, f"has a key with a NUL character: {key!r}")
    if not is_text(key):
        yield Problem(path, f"has a key with a lone surrogate: {key!r}")
