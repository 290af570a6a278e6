"""Errors whose texts repeat the arguments of a task, where some of these are hidden."""

from __future__ import annotations

from typing import Any, TypeVar

from celery.exceptions import MaxRetriesExceededError
from pydantic import ValidationError

from gql_api.dispatch import HIDDEN_HEADER, TEXTS

E = TypeVar("E", bound=BaseException | None)


class WithoutInputError(ValueError):
    """The root of the errors that stand for one of Pydantic without the values that it was given."""


REPEATING = (MaxRetriesExceededError, ValidationError, WithoutInputError)


def shown_error(request: Any, error: E) -> E | Exception:
    """Return the error to raise, from none, in place of one of :data:`REPEATING`; any other is returned as it is."""
    if getattr(request, HIDDEN_HEADER, None) is None:
        return error
    if isinstance(error, ValidationError):
        return _without_input(error)
    if isinstance(error, MaxRetriesExceededError):
        args, kwargs = (getattr(request, text) for text in TEXTS.values())
        exhausted: Exception = type(error)(f"Can't retry {request.task}[{request.id}] args:{args} kwargs:{kwargs}")
        return exhausted
    return error


def _without_input(error: ValidationError) -> WithoutInputError:
    # Pydantic can leave the values out too, but not of a finished error whose kinds are a program's own.
    found = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [f"{'.'.join(map(str, each['loc']))}\n  {each['msg']} [type={each['type']}]" for each in found]
    count = f"{len(found)} validation error{'' if len(found) == 1 else 's'}"
    kind = type(type(error).__name__, (WithoutInputError,), {"__module__": type(error).__module__})
    stand_in: WithoutInputError = kind("\n".join([f"{count} for {error.title}", *lines]))
    return stand_in
