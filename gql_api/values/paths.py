"""Paths into JSON: keys and array indexes between dots; a backslash escapes a dot or a backslash within a key."""

from __future__ import annotations

import re

_PART = re.compile(r"(?:[^\\.]|\\[\\.])*")
_ESCAPE = re.compile(r"\\([\\.])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
# Deeper than any metadata may be nested.
_MAX_PARTS = 64


class PathError(ValueError):
    """A string is no path. The message says why."""


def parse(path: str) -> list[str]:
    r"""Split a path into its keys: ``a.b\.c.0`` has the three keys ``a``, ``b.c`` and ``0``.

    Raises:
        PathError: a backslash stands before something else, or the path is longer than any object is deep.
    """
    keys, start = [], 0
    while True:
        match = _PART.match(path, start)
        end = start if match is None else match.end()
        keys.append(_ESCAPE.sub(r"\1", path[start:end]))
        if end == len(path):
            break
        if path[end] != ".":
            raise PathError("a backslash has to stand before a dot or a backslash")
        start = end + 1
    if len(keys) > _MAX_PARTS:
        raise PathError(f"has more than {_MAX_PARTS} keys")
    return keys


def index(key: str) -> int | None:
    """Read a key as the index of an array element; None when it is none, as ``01`` and ``-1``."""
    return int(key) if _INDEX.fullmatch(key) else None
