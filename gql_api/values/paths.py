"""Paths into JSON: keys and array indexes between dots; a backslash escapes a dot or a backslash within a key."""

from __future__ import annotations

import re

from gql_api.values.problems import InvalidValueError

_PART = re.compile(r"(?:[^\\.]|\\[\\.])*")
_ESCAPE = re.compile(r"\\([\\.])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
# More than the levels of any metadata.
_MAX_PARTS = 64


def parse(path: str) -> list[str]:
    r"""Split a path into its keys: ``a.b\.c.0`` has the three keys ``a``, ``b.c`` and ``0``.

    Raises:
        InvalidValueError: a backslash precedes another character, or there are too many keys.
    """
    keys, start = [], 0
    while True:
        match = _PART.match(path, start)
        end = start if match is None else match.end()
        keys.append(_ESCAPE.sub(r"\1", path[start:end]))
        if end == len(path):
            break
        if path[end] != ".":
            raise InvalidValueError.because("a backslash must precede a dot or a backslash")
        start = end + 1
    if len(keys) > _MAX_PARTS:
        raise InvalidValueError.because(f"at most {_MAX_PARTS} keys allowed, got {len(keys)}")
    return keys


def index(key: str) -> int | None:
    """Return the array index that a key stands for, or None if it is not one, like ``01`` and ``-1``."""
    return int(key) if _INDEX.fullmatch(key) else None
