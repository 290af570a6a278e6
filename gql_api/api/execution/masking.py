"""Unexpected errors are logged under an id; the client receives the id only."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import MaskErrors
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from gql_api.api.errors import INTERNAL, UNAVAILABLE
from gql_api.outage import is_outage

logger = logging.getLogger(__name__)


def internal_error(error: BaseException | None) -> GraphQLError:
    """Log what nobody expected, with its traceback under an id, and make the error that tells a client the id only."""
    error_id = uuid.uuid4().hex
    logger.error("Unexpected error %s", error_id, exc_info=error)
    return GraphQLError(f"Internal error {error_id}", extensions={"code": INTERNAL, "id": error_id})


class MaskUnexpected(MaskErrors):
    """Masks what is no error of the request's own making.

    MongoDB being away is told as such. Everything else is logged with its traceback under an id, and the client sees
    the id only.
    """

    def __init__(self) -> None:
        super().__init__(should_mask_error=_is_unexpected)

    def _process_result(self, result: object) -> None:
        # The base asks whether it is of a protocol, which takes longer than most operations.
        errors: list[GraphQLError] | None = getattr(result, "errors", None)
        if errors:
            result.errors = self._process_errors(errors)  # type: ignore[attr-defined] # it has them

    def anonymise_error(self, error: GraphQLError) -> GraphQLError:
        """Make the error that the client sees."""
        original = error.original_error
        if is_outage(original):
            logger.warning("MongoDB does not answer: %s", original)
            return _instead(error, "The task store does not answer, try again later.", {"code": UNAVAILABLE})
        masked = internal_error(original)
        return _instead(error, masked.message, masked.extensions)


# What Strawberry raises for a request that names no operation to run.
_EXPECTED = (GraphQLError, CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError)


def _is_unexpected(error: GraphQLError) -> bool:
    return error.original_error is not None and not isinstance(error.original_error, _EXPECTED)


def masked(errors: Sequence[GraphQLError]) -> list[GraphQLError]:
    """What a client is told of some errors."""
    return [_MASK.anonymise_error(error) if _is_unexpected(error) else error for error in errors]


def _instead(error: GraphQLError, message: str, extensions: dict[str, Any] | None) -> GraphQLError:
    return GraphQLError(message, nodes=error.nodes, path=error.path, extensions=extensions)


_MASK = MaskUnexpected()
