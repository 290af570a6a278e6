"""JSON values with nothing to report, found in one pass: nearly all values that clients send."""

from __future__ import annotations

import math
from typing import Any

from gql_api.values.encoding import MAX_INT64, MIN_INT64, is_text
from gql_api.values.plain import TYPE

# A character has at most six bytes in JSON, and another value fewer than these.
_MAX_BYTES = 32


def is_ordinary(value: Any, max_bytes: int, *, max_depth: int, max_keys: int) -> bool:
    """Return whether a JSON value is an array or an object that is returned unchanged for certain.

    So :func:`~gql_api.values.encoding.check` has no problem with it, and neither has Celery's serializer: no key is its
    own for typed values. Other values may have no problem either.
    """
    parts, keys, size = [value], 0, 0
    for part in parts:  # which grows
        if type(part) is dict:
            if not all(map(_is_key, part)):
                return False
            keys += len(part)
            size += sum(map(len, part))
        elif type(part) is not list:
            return False
        size += len(part) + 1
        items = part.values() if type(part) is dict else part
        for item in items:
            kind = type(item)
            if kind is str and (item.isascii() or is_text(item)):
                size += len(item)
            elif kind is dict or kind is list:
                parts.append(item)
            elif not (item is None or kind is bool or _is_number(item)):
                return False
        # There are no more levels than parts.
        if _MAX_BYTES * size > max_bytes or keys > max_keys or len(parts) > max_depth:
            return False
    return True


def _is_key(key: Any) -> bool:
    return type(key) is str and key.isascii() and "\0" not in key and key != TYPE


def _is_number(value: Any) -> bool:
    if type(value) is int:
        return MIN_INT64 <= value <= MAX_INT64
    return type(value) is float and math.isfinite(value)
