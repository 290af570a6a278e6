"""The log of a worker: lines of tasks are kept with their task, and the worker's own have no results."""

from __future__ import annotations

import logging
from typing import Any

from celery import signals
from celery._state import get_current_worker_task
from celery.app import trace
from celery.app.log import TaskFormatter
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import ColorFormatter, task_logger

from gql_api.telemetry.log_lines import SafeFormatter
from gql_api.worker.backend.backend import Backend

_STOCK_SUCCESS = trace.LOG_SUCCESS
_RETURN_VALUE = "return_value"
_HIDDEN = "..."


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
            self._backend.logs.add(task.request, record.levelno, lambda: self.format(record))
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 - the convention of handlers: logging never fails its caller
            self.handleError(record)


def attach(backend: Backend) -> None:
    """Add the handler to the task loggers of this worker, and keep results and control characters out of its log.

    Celery removes all handlers when it sets logging up. A pool process does that again when each process has a log
    file of its own (``%i``).
    """
    handler = TaskLogHandler(backend)

    def attach_again(**_: Any) -> None:
        task_logger.addHandler(handler)
        for logger in (logging.getLogger(), task_logger):
            _escape(logger)

    attach_again()
    logging.getLogger(trace.__name__).addFilter(_without_result)
    signals.after_setup_task_logger.connect(attach_again, weak=False)


def _escape(logger: logging.Logger) -> None:
    """Let Celery's own formatters escape control characters. An application's own formatters stay as they are."""
    for handler in logger.handlers:
        formatter = handler.formatter
        if formatter is not None and type(formatter) in {ColorFormatter, TaskFormatter}:
            handler.setFormatter(SafeFormatter(formatter))


def _without_result(record: logging.LogRecord) -> bool:
    """Remove the result from Celery's line about a success, unless the application has a format of its own."""
    if record.msg == _STOCK_SUCCESS and isinstance(record.args, dict):
        record.msg = _STOCK_SUCCESS.partition(": %(return_value)s")[0]
        record.args = {**record.args, _RETURN_VALUE: _HIDDEN}
        if isinstance(data := getattr(record, "data", None), dict):
            # For handlers that store the parts of the line.
            record.data = {**data, _RETURN_VALUE: _HIDDEN}
    return True
