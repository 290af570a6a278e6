"""Values that are cut to a size: texts of errors and of progress reports have no limit at their source."""

from __future__ import annotations

import json
from typing import Any

# A value of fewer bytes is not worth an entry of its own in a container that is cut.
_MIN_BYTES = 64
_MAX_DEPTH = 8


def cut(text: str, max_bytes: int) -> str:
    """Return the text, or its beginning with a note of its size, in at most ``max_bytes`` of UTF-8."""
    size = _size(text)
    if size <= max_bytes:
        return text
    note = f" … [cut: {size} bytes, at most {max_bytes} kept]"
    return _start(text, max_bytes - _size(note)) + note


def cut_middle(text: str, max_bytes: int) -> str:
    """Return the text, or its beginning, a note of its size and its end, in at most ``max_bytes`` of UTF-8."""
    size = _size(text)
    if size <= max_bytes:
        return text
    note = f"\n… [cut: {size} bytes, at most {max_bytes} kept] …\n"
    room = max(0, max_bytes - _size(note))
    return _start(text, room - room // 2) + note + _end(text, room // 2)


def fit(value: Any, max_bytes: int, depth: int = _MAX_DEPTH) -> Any:
    """Return the JSON value with its largest texts cut, in about ``max_bytes`` of JSON.

    The shape is kept as far as possible: other large values than texts become JSON texts, which are cut.
    """
    if isinstance(value, str):
        return cut(value, max_bytes)
    text = _json(value)
    if _size(text) <= max_bytes:
        return value
    if depth and isinstance(value, dict):
        left = max_bytes - sum(map(_size, value))
        if len(value) * _MIN_BYTES <= left:
            return dict(zip(value, _fit_all(list(value.values()), left, depth - 1), strict=True))
    if depth and isinstance(value, list) and len(value) * _MIN_BYTES <= max_bytes:
        return _fit_all(value, max_bytes, depth - 1)
    return cut(text, max_bytes)


def _fit_all(items: list[Any], max_bytes: int, depth: int) -> list[Any]:
    """Fit the small items first: the large ones share the space that is left."""
    sizes = [_size(_json(item)) for item in items]
    fitted, left = list(items), max_bytes
    for number, index in enumerate(sorted(range(len(items)), key=sizes.__getitem__)):
        fitted[index] = fit(items[index], left // (len(items) - number), depth)
        left = max(0, left - _size(_json(fitted[index])))
    return fitted


# Each character has at least one byte, so only a small part of a large text is encoded.
def _start(text: str, size: int) -> str:
    return text[: max(0, size)].encode("utf-8", "backslashreplace")[: max(0, size)].decode("utf-8", "ignore")


def _end(text: str, size: int) -> str:
    return text[-size:].encode("utf-8", "backslashreplace")[-size:].decode("utf-8", "ignore") if size else ""


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "backslashreplace"))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
