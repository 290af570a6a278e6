"""Errors at the edge: what a client could expect is told, anything else is logged under an id and masked."""

from __future__ import annotations

import logging
import uuid
from enum import StrEnum

import strawberry
from graphql import GraphQLError
from strawberry.extensions import MaskErrors

from jobs.outage import is_outage

logger = logging.getLogger(__name__)

UNAVAILABLE = "SERVICE_UNAVAILABLE"
INTERNAL = "INTERNAL_SERVER_ERROR"
BAD_INPUT = "BAD_USER_INPUT"


class ClientError(GraphQLError):
    """The request cannot be answered, and the message says why. Its code is in the ``extensions``."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, extensions={"code": code})


def unknown_task(task_id: str) -> ClientError:
    """Make the error for an id that is no task's, where there must be one."""
    return ClientError(f"There is no task {task_id}", "NOT_FOUND")


@strawberry.enum(description="Why a mutation changed nothing.")
class TaskErrorCode(StrEnum):
    """The codes of :class:`UserError`."""

    INVALID_INPUT = "INVALID_INPUT"
    UNKNOWN_TASK_NAME = "UNKNOWN_TASK_NAME"
    METADATA_TOO_LARGE = "METADATA_TOO_LARGE"


@strawberry.type(description="Something the caller can put right.")
class UserError:
    """An expected failure of a mutation."""

    code: TaskErrorCode
    message: str
    field: list[str] | None = strawberry.field(description="The path in the input that it is about.")


class MaskUnexpected(MaskErrors):
    """Masks what is no error of the request's own making.

    MongoDB being away is told as such. Everything else is logged with its traceback under an id, and the client sees
    the id only.
    """

    def __init__(self) -> None:
        super().__init__(should_mask_error=_is_unexpected)

    def anonymise_error(self, error: GraphQLError) -> GraphQLError:
        """Make the error that the client sees."""
        original = error.original_error
        if is_outage(original):
            logger.warning("MongoDB does not answer: %s", original)
            return _masked(error, "The task store does not answer, try again later.", {"code": UNAVAILABLE})
        error_id = uuid.uuid4().hex
        logger.error("Unexpected error %s", error_id, exc_info=original)
        return _masked(error, f"Internal error {error_id}", {"code": INTERNAL, "id": error_id})


def _is_unexpected(error: GraphQLError) -> bool:
    return error.original_error is not None and not isinstance(error.original_error, GraphQLError)


def _masked(error: GraphQLError, message: str, extensions: dict[str, str]) -> GraphQLError:
    return GraphQLError(message, nodes=error.nodes, path=error.path, extensions=extensions)
