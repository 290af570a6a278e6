"""The base class of the task functions of an adopted Celery app."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import celery
from celery.exceptions import SoftTimeLimitExceeded
from kombu.utils.encoding import safe_repr

from gql_api.record.model import Progress
from gql_api.values.operations import MetadataOp, Operation
from gql_api.worker.state.attempt import attempt_of, fence_of, is_cancelled, raise_if_cancelled

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend

_MESSAGE_LENGTH = 1000


class Task(celery.Task):
    """A Celery task that can also report progress, log, and read and change its metadata (with ``bind=True``)."""

    backend: Backend

    def is_cancelled(self) -> bool:
        """Return whether ``cancelTask`` or ``revoke`` asked this task to end, at least a second ago.

        The function may then clean up and raise :class:`gql_api.adopt.TaskCancelledError`, which makes the task
        REVOKED; if it returns a result instead, the task is a SUCCESS. Costs nothing; False outside a worker.
        """
        return is_cancelled(self.request)

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of this task as of the start of this attempt, or after its own last change.

        Empty outside a worker.
        """
        return metadata_of(self.request)

    def update_metadata(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        unset: Sequence[str] = (),
        increment: Mapping[str, float] | None = None,
        append: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Change the metadata of this task and announce it. Concurrent changes by others are kept.

        Each key is a path: keys and array indexes between dots, a backslash before a dot within a key. Does nothing
        outside a worker.

        Args:
            values: new values by path.
            unset: paths to remove.
            increment: amounts to add to numbers.
            append: values to append to arrays.

        Returns:
            The new metadata.

        Raises:
            MetadataError: a path or a value does not fit, or the metadata would be too large.
            Ignore: the task was taken away from this attempt.
        """
        operations = [
            *(Operation(MetadataOp.SET, path, value) for path, value in (values or {}).items()),
            *(Operation(MetadataOp.UNSET, path) for path in unset),
            *(Operation(MetadataOp.INCREMENT, path, by) for path, by in (increment or {}).items()),
            *(Operation(MetadataOp.APPEND, path, value) for path, value in (append or {}).items()),
        ]
        attempt = attempt_of(self.request)
        if attempt.claim is not None and operations:
            attempt.update_record(self.backend.change_metadata(self.request, operations))
        return metadata_of(self.request)

    def report_progress(self, current: float, total: float | None = None, message: str | None = None) -> None:
        """Store and announce the progress of this attempt.

        Returns at once. Of reports within ``PROGRESS_INTERVAL_SECONDS`` only the latest is stored; the last report is
        always stored. Does nothing outside a worker.

        Args:
            current: the amount of work that is done, in the same unit as ``total``; a fraction is fine.
            total: the amount of all work, if that is known.
            message: a short text for people.

        Raises:
            ValueError: a number is not finite.
            TaskCancelledError: the task was asked to end; it becomes REVOKED unless the function catches this.
        """
        progress = Progress(_finite(current), None if total is None else _finite(total), _text(message))
        request = self.request
        if request.id is None or request.called_directly or request.is_eager:
            return
        raise_if_cancelled(request)
        self.backend.report_progress(request.id, progress, fence_of(request.id, request))

    def log(self, message: object, *args: object, level: int | str = logging.INFO) -> None:
        """Add a line to the task's log, but not to the worker's own log.

        ``celery.utils.log.get_task_logger`` adds it to both. Returns at once; lines are stored and announced in
        batches. Does nothing outside a worker.

        Args:
            message: a text; with ``args`` a format, as in ``logging``. Both are kept as they are if they do not fit.
            args: the values of the format.
            level: a level of ``logging``, by number or by name.

        Raises:
            ValueError: the level is unknown.
        """
        request, number = self.request, _level(level)
        if request.id is None or request.called_directly or request.is_eager:
            return
        self.backend.log(request, number, lambda: _formatted(message, args))


def metadata_of(request: Any) -> dict[str, Any]:
    """Return the metadata of the task of a request, as its attempt has last seen it; empty outside a worker."""
    claim = attempt_of(request).claim
    return {} if claim is None else claim.record.metadata


def _finite(number: float) -> float:
    try:
        if math.isfinite(number):
            return float(number)
    except OverflowError:
        pass
    raise ValueError(f"progress: finite numbers required, got {number}")


def _text(message: object) -> str | None:
    """Return a message, which may be an exception or a lazy translation, cut to the length that a screen can show."""
    return None if message is None else str(message)[:_MESSAGE_LENGTH]


def _level(level: int | str) -> int:
    if isinstance(level, int):
        return level
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"level: must be a level of logging, got {level!r}")
    return number


def _formatted(message: object, args: tuple[object, ...]) -> str:
    """Format as ``logging`` does, with a single mapping as named arguments."""
    # A wrong format must not fail a task.
    try:
        return logging.LogRecord("", 0, "", 0, message, args, None).getMessage()
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # noqa: BLE001 - whatever the arguments raise
        return str(safe_repr((message, *args)))  # type: ignore[no-untyped-call] # kombu has no types
