"""Records of Celery's task logger become lines of the task that runs."""

from __future__ import annotations

import logging
from typing import Any

from celery import signals
from celery._state import get_current_worker_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import task_logger

from gql_api.worker.backend.backend import Backend


class TaskLogHandler(logging.Handler):
    """Keeps what is logged while a claimed task runs, by ``get_task_logger`` and whatever stands below such a logger.

    The levels of the loggers decide what comes here, as for every handler.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._backend = backend

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, with its traceback if it has one."""
        task = get_current_worker_task()
        if task is None:
            return
        try:
            self._backend.log(task.request, record.levelno, lambda: self.format(record))
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 - the convention of handlers: logging never fails who logs
            self.handleError(record)


def attach(backend: Backend) -> None:
    """Let the task loggers of this worker keep their records.

    Celery takes the handlers away that it finds when it sets logging up, which a pool process does again when each has
    a log file of its own (``%i``).
    """
    handler = TaskLogHandler(backend)
    task_logger.addHandler(handler)

    def attach_again(**_: Any) -> None:
        task_logger.addHandler(handler)

    signals.after_setup_task_logger.connect(attach_again, weak=False)
