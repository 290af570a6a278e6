"""The registry of an adopted application: every task in it has the methods of our task class, whatever its own class.

An application brings task classes of its own: ``Celery(task_cls=...)`` as Flask documents it, the class that Celery
sets for Django, a ``base=`` of one task. They stay, and what they define goes before our methods of the same name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, overload

import celery
from celery import Celery
from pydantic import BaseModel

from gql_api.record.fields import is_internal
from gql_api.worker.app.task import Task, metadata_of
from gql_api.worker.state import coroutines, greenlets
from gql_api.worker.store.redactions import redaction_of

_OURS = f"{Task.__module__}:{Task.__name__}"


class _Metadata:
    """The metadata of a task whose class is not ours: such a class may have an attribute of that name, and set it."""

    @overload
    def __get__(self, task: None, owner: type) -> _Metadata: ...
    @overload
    def __get__(self, task: celery.Task, owner: type) -> dict[str, Any]: ...
    def __get__(self, task: celery.Task | None, owner: type) -> _Metadata | dict[str, Any]:
        return self if task is None else metadata_of(task.request)


class _AddedMethods(Task):
    # Unlike a property, it is hidden by an attribute of the task.
    metadata = _Metadata()


class _AddingMethods:
    """The mixin that stands before the class of a registry: all ways to make a task end in its ``__setitem__``."""

    def __setitem__(self, name: str, task: celery.Task) -> None:
        if not is_internal(name):
            # A wrong one is an error now.
            redaction_of(task)
            add_methods(task)
            run_coroutines(task)
        super().__setitem__(name, task)  # type: ignore[misc] # the registry's own class comes after this one


def adopt_tasks(app: Celery) -> None:
    """Let every task that is added to an app have our methods.

    Raises:
        RuntimeError: the app has tasks already, which would run without records.
    """
    tasks = app._tasks  # noqa: SLF001 - ``app.tasks`` would make the tasks
    if isinstance(tasks, _AddingMethods):
        return
    if app.finalized or tasks:
        raise RuntimeError("adopt the Celery app right after making it: it has tasks already")
    if app.task_cls in (Celery.task_cls, celery.Task):
        app.task_cls = _OURS
    # The same object, for others may hold it.
    kind = type(tasks)
    tasks.__class__ = type(kind.__name__, (_AddingMethods, kind), {"__module__": kind.__module__})


def add_methods(task: celery.Task) -> None:
    """Give a task a subclass of its own class that has our methods too, after those of its own class."""
    if isinstance(task, Task):
        return
    kind = type(task)
    attributes = {"__module__": kind.__module__, "__doc__": kind.__doc__}
    task.__class__ = type(kind.__name__, (kind, _AddedMethods), attributes)


def run_coroutines(task: celery.Task) -> None:
    """Let a task whose function is a coroutine function run like any other.

    A call of the function itself returns the coroutine, as without Celery.
    """
    # With ``autoretry_for`` a task has a ``run`` that catches the exceptions of this one. Celery adds that before or
    # after the task comes to the registry.
    attribute = "_orig_run" if hasattr(task, "_orig_run") else "run"
    function = getattr(task, attribute)
    if not _returns_coroutines(function):
        return

    greenlets.separate_running_loops()
    dump = _dump_of(task, function)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        request = task.request
        is_own_call = request.called_directly or (coroutines.is_in_loop() and not request.is_eager)
        if is_own_call or not inspect.isawaitable(result):
            return result
        return dump(coroutines.run(result))

    setattr(task, attribute, run)


def _returns_coroutines(function: Any) -> bool:
    # A decorator leads to the function; a callable object has it in its class.
    function = inspect.unwrap(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - not whether it can be called


def _dump_of(task: celery.Task, function: Any) -> Callable[[Any], Any]:
    """Return what Celery's wrapper for ``pydantic=True`` does to a result: the wrapper gets the coroutine only."""
    if getattr(task, "_dump_pydantic_arguments", None) is None:
        return lambda result: result
    options = inspect.getclosurevars(function).nonlocals["dump_kwargs"]
    return lambda result: result.model_dump(**options) if isinstance(result, BaseModel) else result
