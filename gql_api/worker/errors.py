"""The exceptions of the worker's own code."""

from __future__ import annotations

from celery.exceptions import TaskRevokedError


class WorkerError(Exception):
    """The base class of the worker's exceptions."""


class TaskCancelledError(WorkerError, TaskRevokedError):
    """A caller has cancelled the running task. Raised inside task functions, which may clean up."""


class DuplicateTaskIdError(WorkerError, ValueError):
    """A caller gave a new task the id of another one."""


class IllegalTransitionError(WorkerError):
    """An attempt state was asked for a step that its phase does not allow: an error in this program."""


class FunctionExitError(WorkerError):
    """A stand-in for an exception of a task function that ends a process or a worker if Celery gets it."""
