"""Errors at the edge: what a client could expect is told, anything else is logged under an id and masked."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Self

import strawberry
from graphql import GraphQLError

from gql_api.record.reads import TaskRecord
from gql_api.values import Problem

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
