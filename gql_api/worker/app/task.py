"""The base class of the task functions of an adopted Celery app."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import celery

from gql_api.values.operations import MetadataOp, Operation
from gql_api.worker.app.reports import Number, Reporter, formatted
from gql_api.worker.state.attempt import attempt_of, fence_of, is_cancelled, raise_if_cancelled

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend


class Task(celery.Task):
    """A Celery task that can also report progress, log, and read and change its metadata (with ``bind=True``)."""

    backend: Backend
    record: bool = True
    """Whether the tasks of this function are recorded; if not, they are sent and run as stock Celery would, and the
    methods below do nothing."""
    redact: Sequence[str] = ()
    """The parameters whose values records, events, logs and the API do not show, as ``@app.task(redact=[...])``."""

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

    def report_progress(
        self, current: Number | None = None, total: Number | None = None, message: object = None
    ) -> None:
        """Store and announce the progress of this attempt.

        Returns at once. Of reports within ``PROGRESS_INTERVAL_SECONDS`` only the latest is stored; the last report is
        always stored. Does nothing outside a worker.

        A report never fails its task: numbers may be given as text, and what is not a finite number, or a message
        that cannot be made a text, is left out, with one warning for each task function.

        Args:
            current: the amount of work that is done, in the same unit as ``total``; a fraction is fine.
            total: the amount of all work, if that is known.
            message: a short text for people; what exceeds ``PROGRESS_MAX_BYTES`` is cut.

        Raises:
            TaskCancelledError: the task was asked to end; it becomes REVOKED unless the function catches this.
        """
        request = self.request
        if request.id is None or request.called_directly or request.is_eager:
            return
        if attempt_of(request).is_unrecorded:
            return
        raise_if_cancelled(request)
        progress = Reporter(self.name).progress(current, total, message)
        if progress is not None:
            self.backend.report_progress(request.id, progress, fence_of(request.id, request))

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any
    ) -> None:
        """Set a state as Celery does. What cannot be stored of the meta is left out, with a warning."""
        stock = super().update_state

        def update(part: Any) -> None:
            stock(task_id, state, part, **kwargs)

        Reporter(self.name).update(state, meta, update, self.backend.encode)

    def log(self, message: object, *args: object, level: int | str = logging.INFO) -> None:
        """Add a line to the task's log, but not to the worker's own log.

        ``celery.utils.log.get_task_logger`` adds it to both. Returns at once; lines are stored and announced in
        batches. Does nothing outside a worker.

        Args:
            message: a text; with ``args`` a format, as in ``logging``. Both are kept as they are if they do not fit.
            args: the values of the format.
            level: a level of ``logging``, by number or by name; INFO in place of anything else.
        """
        request = self.request
        if request.id is None or request.called_directly or request.is_eager:
            return
        number = Reporter(self.name).level(level)
        self.backend.logs.add(request, number, lambda: formatted(message, args))


def metadata_of(request: Any) -> dict[str, Any]:
    """Return the metadata of the task of a request, as its attempt has last seen it; empty outside a worker."""
    claim = attempt_of(request).claim
    return {} if claim is None else claim.record.metadata
