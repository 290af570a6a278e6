"""The exceptions of the API under one root, the error codes that clients see, and texts that several errors share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from graphql import GraphQLError
from pymongo.errors import WaitQueueTimeoutError

from gql_api.record.fitness.rules import Misfit
from gql_api.record.reads import TaskRecord
from gql_api.telemetry.counters import LIMITS_EXCEEDED
from gql_api.values import Problem

# The values of ``extensions.code``.
ANSWER_TOO_LARGE = "ANSWER_TOO_LARGE"
BAD_INPUT = "BAD_USER_INPUT"
CONFLICT = "CONFLICT"
DOCUMENT_NOT_TRUSTED = "DOCUMENT_NOT_TRUSTED"
FORBIDDEN = "FORBIDDEN"
INVALID_RECORD = "INVALID_RECORD"
INTERNAL = "INTERNAL_SERVER_ERROR"
LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
NOT_FOUND = "NOT_FOUND"
OVERLOADED = "OVERLOADED"
PERSISTED_QUERY_NOT_SUPPORTED = "PERSISTED_QUERY_NOT_SUPPORTED"
QUERY_TIMEOUT = "QUERY_TIMEOUT"
QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
UNAUTHENTICATED = "UNAUTHENTICATED"
UNAVAILABLE = "SERVICE_UNAVAILABLE"


class TaskErrorCode(StrEnum):
    """The codes of ``userErrors``."""

    INVALID_INPUT = "INVALID_INPUT"
    UNKNOWN_TASK_NAME = "UNKNOWN_TASK_NAME"
    METADATA_TOO_LARGE = "METADATA_TOO_LARGE"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_FINAL = "ALREADY_FINAL"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    REVISION_CONFLICT = "REVISION_CONFLICT"


class ApiError(Exception):
    """The root of the API's exceptions."""


class ClientError(ApiError, GraphQLError):
    """An error in ``errors`` of the answer, with its code in ``extensions``."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, extensions={"code": code})

    @classmethod
    def not_found(cls, task_id: str) -> Self:
        """Return the error of an operation that needs a task with this id."""
        return cls(_no_such_task(task_id), NOT_FOUND)


class InvalidRecordError(ClientError):
    """An error of an operation that needs a record that does not fit."""

    def __init__(self, task_id: object, misfit: Misfit) -> None:
        message = f'The record of task {_text(task_id)} does not fit: {misfit}. "gql-api doctor" lists such records'
        super().__init__(message, INVALID_RECORD)


class LimitExceededError(ClientError):
    """An error of a request that exceeds a limit, such as "depth 31, at most 15". Creating it counts it.

    Args:
        limit: the limit's name, as in the label of the counter and in ``extensions.limit``.
        value: what the request has, or a lower bound of it.
        maximum: what is allowed.
    """

    def __init__(self, limit: str, value: int, maximum: int) -> None:
        super().__init__(f"{limit} {value:,}, at most {maximum:,}", LIMIT_EXCEEDED)
        self.extensions = {"code": LIMIT_EXCEEDED, "limit": limit, "value": value, "max": maximum}
        LIMITS_EXCEEDED.labels(limit).inc()


class OverloadedError(ClientError):
    """An error of a request that the process has no room for at the moment. Creating it counts it.

    Args:
        limit: the limit's name, as in the label of the counter and in ``extensions.limit``.
        message: what there is too much of, the beginning of a sentence.
        retry_after: the seconds after which the client may try again.
    """

    def __init__(self, limit: str, message: str, retry_after: int = 1) -> None:
        super().__init__(f"{message}, try again in {retry_after} s", OVERLOADED)
        self.extensions = {"code": OVERLOADED, "limit": limit, "retryAfter": retry_after}
        LIMITS_EXCEEDED.labels(limit).inc()


class QuotaExceededError(ClientError):
    """An error of a call that exceeds a quota of its principal or its tenant. Creating it counts it.

    Args:
        limit: the quota's name, as in the label of the counter and in ``extensions.limit``.
        maximum: the quota.
        retry_after: the seconds after which the client may try again; None if the same call can never succeed.
    """

    def __init__(self, limit: str, maximum: float, retry_after: int | None) -> None:
        most = int(maximum) if maximum == int(maximum) else maximum
        advice = "in one call" if retry_after is None else f"try again in {retry_after} s"
        super().__init__(f"{limit}: at most {most:,}, {advice}", QUOTA_EXCEEDED)
        self.extensions = {"code": QUOTA_EXCEEDED, "limit": limit, "max": most}
        if retry_after is not None:
            self.extensions["retryAfter"] = retry_after
        LIMITS_EXCEEDED.labels(limit).inc()


class NoSlotError(ApiError, WaitQueueTimeoutError):
    """An error of a call of MongoDB that never began, because others took all slots although MongoDB answers.

    Code that waits for the end of an outage treats it as one. A client gets an :class:`OverloadedError`; a
    :class:`QuotaExceededError` if its own calls took all that it may have.

    Args:
        message: what the call waited for.
        quota: the name and the size of the quota that the caller's own calls have used up.
    """

    def __init__(self, message: str, quota: tuple[str, int] | None = None) -> None:
        super().__init__(message)
        self.quota = quota

    def for_client(self) -> OverloadedError | QuotaExceededError:
        """Return the error that the client receives. It is counted."""
        return OverloadedError("slots", str(self)) if self.quota is None else QuotaExceededError(*self.quota, 1)


class ConflictError(ClientError):
    """An error of a call that lost every race against other writers. The caller repeats the call."""

    def __init__(self, message: str) -> None:
        super().__init__(message, CONFLICT)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why a mutation changed nothing, with the path of the argument in ``field``."""

    code: TaskErrorCode
    message: str
    field: list[str] | None = None


class MutationRefusedError(ApiError):
    """A mutation that changed nothing, for reasons that its caller can correct. ``task`` is the task as it is."""

    def __init__(self, *refusals: Refusal, task: TaskRecord | None = None) -> None:
        super().__init__("; ".join(refusal.message for refusal in refusals))
        self.refusals = refusals
        self.task = task

    @classmethod
    def because(cls, code: TaskErrorCode, message: str, *path: str, task: TaskRecord | None = None) -> Self:
        """Return an error with one reason; ``path`` leads to the argument that caused it."""
        return cls(Refusal(code, message, list(path) or None), task=task)

    @classmethod
    def for_problems(cls, problems: Sequence[Problem], *prefix: str) -> Self:
        """Return an error with one reason for each problem; the paths of the problems begin below ``prefix``."""
        return cls(*(_refusal(problem, prefix) for problem in problems))

    @classmethod
    def not_found(cls, task_id: str) -> Self:
        """Return the error of a mutation that needs a task with this id."""
        return cls.because(TaskErrorCode.NOT_FOUND, _no_such_task(task_id), "id")

    @classmethod
    def already_final(cls, record: TaskRecord) -> Self:
        """Return the error of a mutation that changes unfinished tasks only."""
        message = f"Task {record.id} has already ended with status {record.status}"
        return cls.because(TaskErrorCode.ALREADY_FINAL, message, "id", task=record)


def _no_such_task(task_id: str) -> str:
    return f"No task with id {_text(task_id)}"


def _refusal(problem: Problem, prefix: Sequence[str]) -> Refusal:
    path = [_text(part) for part in problem.path]
    too_large = problem.too_large and path[0] in {"metadata", "operations"}
    return Refusal(
        code=TaskErrorCode.METADATA_TOO_LARGE if too_large else TaskErrorCode.INVALID_INPUT,
        message=f"{'.'.join(path or prefix)}: {problem.message}",
        field=[*prefix, *path],
    )


def _text(part: object) -> str:
    """Return what a caller sent as text that UTF-8 can encode."""
    return str(part).encode("utf-8", "backslashreplace").decode()
