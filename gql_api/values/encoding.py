"""The boundary between JSON and BSON: how a JSON value is kept in MongoDB and comes back unchanged.

MongoDB gives a meaning to dots, dollar signs and empty names in keys, and PyMongo turns ``{"$ref", "$id"}`` into a
reference. Keys are therefore escaped on the way in: ``%`` is written ``%25``, ``.`` ``%2E``, ``$`` ``%24``, and the
empty key ``%``. A value that BSON cannot hold is kept whole, as JSON text, under the one key that no escaped key can
equal.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_ESCAPES = {"%": "%25", ".": "%2E", "$": "%24"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}
_ESCAPABLE = re.compile(r"[%.$]")
_ESCAPED = re.compile(r"%25|%2E|%24")
_EMPTY_KEY = "%"
_TEXT_KEY = "%json"

MAX_DEPTH = 32
MAX_KEYS = 1000
# More than anybody reads; a large array of wrong values would make a larger answer.
MAX_PROBLEMS = 20
# MongoDB refuses documents nested deeper than 100 levels; the record itself needs a few of them.
_MAX_STORED_DEPTH = 80
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a value is refused: where it stands in what the caller sent, and a sentence that says what is wrong."""

    path: Path
    message: str
    too_large: bool = False


def dump(value: Any) -> Any:
    """Turn a JSON value (dict, list, str, int, float, bool, None) into its BSON form."""
    return _escape(value) if _fits_bson(value, _MAX_STORED_DEPTH) else {_TEXT_KEY: json.dumps(value)}


def load(stored: Any) -> Any:
    """Turn what :func:`dump` made back into the JSON value."""
    if isinstance(stored, dict):
        if _TEXT_KEY in stored:
            return json.loads(stored[_TEXT_KEY])
        return {_unescape_key(key): load(item) for key, item in stored.items()}
    if isinstance(stored, list):
        return [load(item) for item in stored]
    return stored


def escape_key(key: str) -> str:
    """The name under which MongoDB keeps ``key``."""
    if not key:
        return _EMPTY_KEY
    return _ESCAPABLE.sub(lambda match: _ESCAPES[match[0]], key)


def _unescape_key(key: str) -> str:
    if "%" not in key:
        return key
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
    # No range: Python looks for PyMongo's Int64 in one by counting.
    return _MIN_INT64 <= value <= _MAX_INT64


def is_text(text: str) -> bool:
    """Whether a string is Unicode that UTF-8 has bytes for: no lone surrogate is in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check(value: Any, path: Path, max_bytes: int) -> list[Problem]:
    """Say what in a caller's value could not be given back unchanged; an empty list when all of it can.

    ``path`` is where the value stands in the input; each problem's path begins with it.
    """
    if _deeper_than(value, MAX_DEPTH):
        return [Problem(path, f"is nested more than {MAX_DEPTH} levels deep", too_large=True)]
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        return [Problem(path, f"is {size} bytes of JSON, more than {max_bytes}", too_large=True)]
    keys = _count_keys(value)
    if keys > MAX_KEYS:
        return [Problem(path, f"has {keys} keys, more than {MAX_KEYS}", too_large=True)]
    return list(itertools.islice(_check(value, path), MAX_PROBLEMS))


def _deeper_than(value: Any, limit: int) -> bool:
    """Level by level rather than by recursion: the value may be nested deeper than Python can recurse."""
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
            yield Problem(path, "holds a lone surrogate, which is no Unicode character")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield Problem(path, "is not a finite number, which JSON has no word for")
    elif isinstance(value, int) and not _fits_int64(value):
        yield Problem(path, "is an integer beyond 64 bits; send it as a string")


def _check_key(key: str, path: Path) -> Iterator[Problem]:
    if "\0" in key:
        yield Problem(path, f"has a key with a NUL character: {key!r}")
    if not is_text(key):
        yield Problem(path, f"has a key with a lone surrogate: {key!r}")
