"""Errors at the edge: what a client could expect is told, anything else is logged under an id and masked."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Self

import strawberry
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import MaskErrors
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from jobs.outage import is_outage
from jobs.record.reads import TaskRecord
from jobs.values import Problem

logger = logging.getLogger(__name__)

UNAVAILABLE = "SERVICE_UNAVAILABLE"
INTERNAL = "INTERNAL_SERVER_ERROR"
BAD_INPUT = "BAD_USER_INPUT"


class ClientError(GraphQLError):
    """The request cannot be answered, and the message says why. Its code is in the ``extensions``."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, extensions={"code": code})


def internal_error(error: BaseException | None) -> GraphQLError:
    """Log what nobody expected, with its traceback under an id, and make the error that tells a client the id only."""
    error_id = uuid.uuid4().hex
    logger.error("Unexpected error %s", error_id, exc_info=error)
    return GraphQLError(f"Internal error {error_id}", extensions={"code": INTERNAL, "id": error_id})


def unknown_task(task_id: str) -> ClientError:
    """Make the error for an id that is no task's, where there must be one."""
    return ClientError(f"There is no task {task_id}", "NOT_FOUND")


@strawberry.enum(description="Why a mutation changed nothing.")
class TaskErrorCode(StrEnum):
    """The codes of :class:`UserError`."""

    INVALID_INPUT = "INVALID_INPUT"
    UNKNOWN_TASK_NAME = "UNKNOWN_TASK_NAME"
    METADATA_TOO_LARGE = "METADATA_TOO_LARGE"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_FINAL = "ALREADY_FINAL"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    REVISION_CONFLICT = "REVISION_CONFLICT"


@strawberry.type(description="Something the caller can put right.")
class UserError:
    """An expected failure of a mutation."""

    code: TaskErrorCode
    message: str
    field: list[str] | None = strawberry.field(description="The path in the input that it is about.")


class RefusedError(Exception):
    """A mutation changes nothing, and its caller can put it right."""

    def __init__(self, *errors: UserError, task: TaskRecord | None = None) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = list(errors)
        self.task = task

    @classmethod
    def because(cls, code: TaskErrorCode, message: str, *path: str, task: TaskRecord | None = None) -> Self:
        """Refuse for one reason; ``path`` is where in the arguments it stands."""
        return cls(UserError(code=code, message=message, field=list(path) or None), task=task)

    @classmethod
    def for_problems(cls, problems: Sequence[Problem], *prefix: str) -> Self:
        """Refuse values that cannot be; the paths of the problems begin below ``prefix``."""
        return cls(*(_user_error(problem, prefix) for problem in problems))


def not_found(task_id: str) -> RefusedError:
    """There is no such task."""
    return RefusedError.because(TaskErrorCode.NOT_FOUND, f"There is no task {_text(task_id)}", "id")


def already_final(record: TaskRecord) -> RefusedError:
    """It is too late: the task has ended."""
    message = f"The task has ended already: {record.status}"
    return RefusedError.because(TaskErrorCode.ALREADY_FINAL, message, "id", task=record)


def _user_error(problem: Problem, prefix: Sequence[str]) -> UserError:
    path = [_text(part) for part in problem.path]
    too_large = problem.too_large and path[0] in {"metadata", "operations"}
    return UserError(
        code=TaskErrorCode.METADATA_TOO_LARGE if too_large else TaskErrorCode.INVALID_INPUT,
        message=f"{'.'.join(path or prefix)}: {problem.message}",
        field=[*prefix, *path],
    )


def _text(part: object) -> str:
    """What a caller sent, as something that an answer can carry."""
    return str(part).encode("utf-8", "backslashreplace").decode()


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
