"""The base class of every task function of our Celery app."""

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
    """An ordinary Celery task that can also say how far it is, and what it does (with ``bind=True``)."""

    backend: Backend

    def is_cancelled(self) -> bool:
        """Whether somebody asked for the end of this task, by ``cancelTask`` or ``revoke``, a second ago or earlier.

        A function that sees it may clean up and raise :class:`gql_api.adopt.TaskCancelledError`, which makes the task
        REVOKED; one that returns a result all the same is a SUCCESS. Costs nothing; False outside a worker.
        """
        return is_cancelled(self.request)

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of this task: as it was when this attempt began, or after its own last change of it.

        Empty outside a worker.
        """
        claim = attempt_of(self.request).claim
        return {} if claim is None else claim.record.metadata

    def update_metadata(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        unset: Sequence[str] = (),
        increment: Mapping[str, float] | None = None,
        append: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Change the metadata of this task and announce it; what others change at the same time is kept.

        Each key is a path: keys and array indexes between dots, a backslash before a dot within a key. Outside a
        worker nothing happens.

        Args:
            values: what to set.
            unset: what to take out.
            increment: what to add to numbers.
            append: what to add to the ends of arrays.

        Returns:
            The metadata as it is now.

        Raises:
            MetadataError: a path or a value does not fit, or the metadata would be larger than it may be.
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
        return self.metadata

    def report_progress(self, current: float, total: float | None = None, message: str | None = None) -> None:
        """Store and announce how far this attempt is.

        Returns at once. Reports that follow each other faster than ``PROGRESS_INTERVAL_SECONDS`` are thinned out; the
        last one is always stored. Outside a worker, where no record waits for it, nothing happens.

        Args:
            current: how much is done, in the same unit as ``total``; a fraction is fine.
            total: how much there is to do, when that is known.
            message: a short text for people.

        Raises:
            ValueError: a number is not finite.
            TaskCancelledError: somebody asked for the end of this task, which becomes REVOKED unless it is caught.
        """
        progress = Progress(_finite(current), None if total is None else _finite(total), _text(message))
        request = self.request
        if request.id is None or request.called_directly or request.is_eager:
            return
        raise_if_cancelled(request)
        self.backend.report_progress(request.id, progress, fence_of(request.id, request))

    def log(self, message: object, *args: object, level: int | str = logging.INFO) -> None:
        """Keep a line in the task's log, for who watches the task. It does not go to the worker's own log.

        ``celery.utils.log.get_task_logger`` is for both. Returns at once; lines are stored and announced in batches.
        Outside a worker, where no record waits for it, nothing happens.

        Args:
            message: a text; with ``args`` a format, as in ``logging``. One that does not fit them is kept as it is.
            args: what the format asks for.
            level: of ``logging``, by number or by name.

        Raises:
            ValueError: there is no level of that name.
        """
        request, number = self.request, _level(level)
        if request.id is None or request.called_directly or request.is_eager:
            return
        self.backend.log(request, number, lambda: _formatted(message, args))


def _finite(number: float) -> float:
    try:
        if math.isfinite(number):
            return float(number)
    except OverflowError:
        pass
    raise ValueError("progress must be told in finite numbers")


def _text(message: object) -> str | None:
    """Take any object for a message, an exception or a lazy translation, and no more of it than a screen shows."""
    return None if message is None else str(message)[:_MESSAGE_LENGTH]


def _level(level: int | str) -> int:
    if isinstance(level, int):
        return level
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"there is no level {level!r}")
    return number


def _formatted(message: object, args: tuple[object, ...]) -> str:
    """Format as ``logging`` does, one mapping as named arguments included. What is wrong must not fail a task."""
    try:
        return logging.LogRecord("", 0, "", 0, message, args, None).getMessage()
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # noqa: BLE001 - whatever the arguments raise
        return str(safe_repr((message, *args)))  # type: ignore[no-untyped-call] # kombu has no types
