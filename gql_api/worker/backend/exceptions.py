"""Exceptions between the function that raises one, Celery, which may replace it, and the caller that gets it."""

from __future__ import annotations

from typing import Any

from celery.exceptions import Reject
from celery.utils.serialization import UnpickleableExceptionWrapper, create_exception_cls
from kombu.utils.encoding import safe_repr

from gql_api.worker.errors import FunctionExitError


def original_of(passed_on: BaseException, error: BaseException | None) -> BaseException:
    """Return the exception of the function, if the one that was passed on stands for it, else that one.

    Celery replaces an exception that cannot be pickled by one of a base class, or by a wrapper.
    """
    if error is None:
        return passed_on
    base_classes = [kind for kind in type(error).__mro__ if kind not in (Exception, BaseException)]
    stands_for = (FunctionExitError, UnpickleableExceptionWrapper, *base_classes)
    return error if type(passed_on) in stands_for else passed_on


def text_of(error: BaseException) -> str:
    """Return the text of an exception."""
    if isinstance(error, Reject):
        # Its own would be that of a tuple.
        return str(error.reason)
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever the class of a user raises
        return str(safe_repr(error))  # type: ignore[no-untyped-call] # kombu has no types


def for_caller(made: Any, stored: Any) -> Any:
    """Return the exception that a caller gets for a stored one, of which Celery has made an exception.

    It has the name of the original where Celery cannot make one of the type. An exception such as ``SystemExit`` would
    end the caller's program, so it becomes an ``Exception`` of this name.
    """
    if not isinstance(made, BaseException) or not isinstance(stored, dict):
        return made
    name = str(stored.get("exc_type"))
    is_nameless = type(made) is Exception and name != Exception.__name__
    if isinstance(made, Exception) and not is_nameless:
        return made
    args = stored.get("exc_message", "")
    kind = create_exception_cls(name.rpartition(".")[2], stored.get("exc_module") or __name__)
    return kind(*args) if isinstance(args, list | tuple) else kind(args)
