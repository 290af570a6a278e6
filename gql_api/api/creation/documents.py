"""The complete document of a new record: MongoDB's own result for the update that creates it, made for an insert."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gql_api.api.errors import ApiError
from gql_api.record import fields
from gql_api.record.reads import Document
from gql_api.record.writes import NOW, Write

_LITERAL = "$literal"
_ADD = "$add"
_SET = "$set"


class NotCompleteError(ApiError):
    """An update with an expression that only MongoDB evaluates."""


def complete(write: Write, now: datetime) -> Document:
    """Return the document that an update, run as an upsert at a time, stores for an id that does not exist.

    Args:
        write: the filter, whose id the document gets, and the update.
        now: the time of MongoDB, without an offset, as reads with ``FAST_CODEC`` return it.

    Raises:
        NotCompleteError: the update has another expression than a literal, the time, or a time with a duration added.
    """
    filter_, stages = write
    document: Document = {fields.ID: filter_[fields.ID]}
    for stage in stages:
        for operator, changes in stage.items():
            if operator != _SET:
                raise NotCompleteError(operator)
            for name, expression in changes.items():
                is_literal = type(expression) is dict and _LITERAL in expression  # as most are
                document[name] = expression[_LITERAL] if is_literal else _value(expression, now)
    return document


def _value(expression: Any, now: datetime) -> Any:
    if isinstance(expression, str):
        return _of_text(expression, now)
    if isinstance(expression, dict):
        if _LITERAL in expression:
            return expression[_LITERAL]
        is_operator = next(iter(expression), "")[:1] == "$"
        return _of_operator(expression, now) if is_operator else {k: _value(v, now) for k, v in expression.items()}
    if isinstance(expression, list):
        return [_value(each, now) for each in expression]
    if isinstance(expression, datetime):
        raise NotCompleteError("a time that MongoDB would compare with its own")
    return expression


def _of_text(expression: str, now: datetime) -> Any:
    if expression == NOW:
        return now
    if expression[:1] == "$":
        raise NotCompleteError(expression)
    return str(expression)  # of an enum too


def _of_operator(expression: dict[str, Any], now: datetime) -> Any:
    if list(expression) == [_ADD]:
        time, milliseconds = (_value(each, now) for each in expression[_ADD])
        if isinstance(time, datetime) and isinstance(milliseconds, int):
            return time + timedelta(milliseconds=milliseconds)
    raise NotCompleteError(str(expression))
