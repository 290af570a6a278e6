"""Count and log what compiled plans hand back to graphql-core."""

from __future__ import annotations

import logging
from enum import StrEnum

from graphql import GraphQLError

from gql_api.api.execution.completion import NotCompilableError
from gql_api.telemetry.counters import EXECUTION_FALLBACKS

logger = logging.getLogger(__name__)

# What reading and coercing a value raises when the answer has to carry an error.
_ERRORS = (GraphQLError, TypeError, ValueError)
# Exception classes can be made at run time, so the set of logged ones is bounded.
_MAX_LOGGED_TYPES = 100
_logged_types: set[type[Exception]] = set()


class FallbackReason(StrEnum):
    """The reasons why graphql-core executes what a plan was compiled for."""

    NOT_COMPILABLE = "not_compilable"
    ERROR = "error"
    UNEXPECTED = "unexpected"


# Made here, so that /metrics shows each reason from the beginning.
_COUNTERS = {reason: EXECUTION_FALLBACKS.labels(reason.value) for reason in FallbackReason}


def count_fallback(error: Exception) -> None:
    """Count an exception that made a plan give up, and log the first unexpected one of each type.

    The caller lets graphql-core execute the same again, so that the client receives graphql-core's data and errors.
    """
    reason = _reason(error)
    _COUNTERS[reason].inc()
    kind = type(error)
    if reason is FallbackReason.UNEXPECTED and kind not in _logged_types and len(_logged_types) < _MAX_LOGGED_TYPES:
        _logged_types.add(kind)
        logger.error("A compiled plan failed, graphql-core executes instead (logged once per type)", exc_info=error)


def _reason(error: Exception) -> FallbackReason:
    if isinstance(error, NotCompilableError):
        return FallbackReason.NOT_COMPILABLE
    return FallbackReason.ERROR if isinstance(error, _ERRORS) else FallbackReason.UNEXPECTED
