"""Log unexpected errors under an id; the client receives only the id."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import MaskErrors
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from gql_api.api.errors import INTERNAL, UNAVAILABLE, NoSlotError
from gql_api.outage import is_outage

logger = logging.getLogger(__name__)


def internal_error(error: BaseException | None) -> GraphQLError:
    """Log an unexpected error with its traceback, and create the client's error, which has only the id of the log."""
    error_id = uuid.uuid4().hex
    logger.error("Unexpected error %s", error_id, exc_info=error)
    return GraphQLError(f"Internal error {error_id}", extensions={"code": INTERNAL, "id": error_id})


class MaskUnexpected(MaskErrors):
    """A Strawberry extension that masks all errors that the request did not cause.

    While MongoDB does not answer, the client receives that as an error of its own. Every other error is logged with its
    traceback under an id, and the client receives only the id.
    """

    def __init__(self) -> None:
        super().__init__(should_mask_error=_is_unexpected)

    def _process_result(self, result: object) -> None:
        # The base class checks the result against a protocol, which takes longer than most operations.
        errors: list[GraphQLError] | None = getattr(result, "errors", None)
        if errors:
            result.errors = self._process_errors(errors)  # type: ignore[attr-defined] # the line above has found it

    def anonymise_error(self, error: GraphQLError) -> GraphQLError:
        """Create the error that the client receives."""
        original = error.original_error
        if isinstance(original, NoSlotError):
            refusal = original.for_client()
            return _replaced(error, refusal.message, refusal.extensions)
        if is_outage(original):
            logger.warning("MongoDB does not answer: %s", original)
            return _replaced(error, "The task store does not answer, try again later.", {"code": UNAVAILABLE})
        masked = internal_error(original)
        return _replaced(error, masked.message, masked.extensions)


# Strawberry raises the last three for a request that does not name an operation to run.
_EXPECTED = (GraphQLError, CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError)


def _is_unexpected(error: GraphQLError) -> bool:
    return error.original_error is not None and not isinstance(error.original_error, _EXPECTED)


def masked(errors: Sequence[GraphQLError]) -> list[GraphQLError]:
    """Return errors as a client may see them."""
    return [_MASK.anonymise_error(error) if _is_unexpected(error) else error for error in errors]


def _replaced(error: GraphQLError, message: str, extensions: dict[str, Any] | None) -> GraphQLError:
    return GraphQLError(message, nodes=error.nodes, path=error.path, extensions=extensions)


_MASK = MaskUnexpected()
