"""The logging handler that makes records of Celery's task logger lines of the running task."""

from __future__ import annotations

import logging
from typing import Any

from celery import signals
from celery._state import get_current_worker_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import task_logger

from gql_api.worker.backend.backend import Backend


class TaskLogHandler(logging.Handler):
    """A handler of the task loggers, ``get_task_logger`` and those below, that stores their records as log lines.

    The levels of the loggers decide which records arrive here, as for every handler.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._backend = backend

    def emit(self, record: logging.LogRecord) -> None:
        """Store a record, with its traceback if it has one."""
        task = get_current_worker_task()
        if task is None:
            return
        try:
            self._backend.log(task.request, record.levelno, lambda: self.format(record))
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 - the convention of handlers: logging never fails its caller
            self.handleError(record)


def attach(backend: Backend) -> None:
    """Add the handler to the task loggers of this worker.

    Celery removes all handlers when it sets logging up. A pool process does that again when each process has a log
    file of its own (``%i``).
    """
    handler = TaskLogHandler(backend)
    task_logger.addHandler(handler)

    def attach_again(**_: Any) -> None:
        task_logger.addHandler(handler)

    signals.after_setup_task_logger.connect(attach_again, weak=False)
