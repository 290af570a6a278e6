"""The texts that Celery shows for arguments: those of its ``saferepr``, in a tenth of the time for ordinary values."""

from __future__ import annotations

from typing import Any

from celery.utils.saferepr import saferepr

from gql_api import values
from gql_api.record.model import Arguments

# The headers with the texts that Celery shows for arguments.
TEXTS = {"args": "argsrepr", "kwargs": "kwargsrepr"}
# As Celery cuts them.
MAX_LENGTH = 1024
# ``saferepr`` shows no more levels of a value.
_MAX_LEVELS = 3


class _UnusualError(Exception):
    """A value that ``saferepr`` does not write like all others of its type."""


def texts_of(shown: Arguments) -> dict[str, str]:
    """Return the headers with the texts that Celery shows for arguments, made of what clients see of them."""
    parts = (tuple(values.plain(shown.args)), values.plain(shown.kwargs))
    return {text: saferepr(part, MAX_LENGTH) for text, part in zip(TEXTS.values(), parts, strict=True)}


def text_of(value: Any) -> str:
    """Return the text for the positional or the keyword arguments of a task, which are small."""
    try:
        text = _text(value, _MAX_LEVELS)
    except _UnusualError:
        return cut_text_of(value)
    return text if len(text) < MAX_LENGTH else cut_text_of(value)


def cut_text_of(value: Any) -> str:
    """Return the text for arguments of any size."""
    text: str = saferepr(value, MAX_LENGTH)
    return text


def _text(value: Any, levels: int) -> str:
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if value is None or kind in _NUMBERS:
        return str(value)
    if not levels:
        raise _UnusualError
    if kind is dict:
        return f"{{{', '.join([f'{_quoted(key)}: {_text(item, levels - 1)}' for key, item in value.items()])}}}"
    if kind is list:
        return f"[{', '.join([_text(item, levels - 1) for item in value])}]"
    if kind is tuple:
        items = [_text(item, levels - 1) for item in value]
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    raise _UnusualError


def _quoted(text: Any) -> str:
    if type(text) is not str:
        raise _UnusualError
    return "'" + text.replace("'", "\\'") + "'"


_NUMBERS = frozenset({int, float, bool})
