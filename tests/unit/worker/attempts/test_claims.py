"""The classes of a worker's tasks."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, Task
from celery.app.trace import task_has_custom
from celery.local import maybe_evaluate
from celery.worker import request

from gql_api.record.fields import is_internal
from gql_api.worker.attempts.claims import Claiming, cover
from gql_api.worker.attempts.request import Request


class _OwnRequest(request.Request):  # type: ignore[misc] # Celery has no types
    """A request class as an application may have one."""


class _Foreign(Task):  # type: ignore[misc] # Celery has no types
    """A base class that knows nothing of claims, and takes over all that a claim needs."""

    abstract = True
    Request = _OwnRequest

    def before_start(self, *_: Any) -> None:
        """Call nothing of any other class."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function only."""
        return self.run(*args, **kwargs)


class _WithState(_Foreign):
    """A task that is an object with a constructor of its own."""

    name = "with_state"

    def __init__(self, seen: list[object]) -> None:
        self.seen = seen

    def run(self, value: object) -> None:
        """Note a value."""
        self.seen.append(value)


@pytest.fixture
def app() -> Celery:
    """Make an app that no other test uses."""
    return Celery(broker="memory://", set_as_current=False)


def test_every_task_claims_before_its_own_class_is_asked(app: Celery) -> None:
    """The claim comes first whatever the base class, once, and Celery's internal tasks are left alone."""
    app.task(base=_Foreign, name="foreign", shared=False)(_nothing)
    app.task(name="plain", shared=False)(_nothing)
    app.finalize()
    cover(app)
    covered = {name: type(task) for name, task in app.tasks.items()}
    cover(app)
    assert {name: type(task) for name, task in app.tasks.items()} == covered
    for name, kind in covered.items():
        assert issubclass(kind, Claiming) is not is_internal(name)
    kind = covered["foreign"]
    assert kind.before_start is Claiming.before_start
    assert kind.apply_async is Claiming.apply_async
    assert all(task_has_custom(app.tasks["plain"], method) for method in ("__call__", "before_start"))
    assert issubclass(kind.Request, Request)
    assert issubclass(kind.Request, _OwnRequest)
    assert covered["plain"].Request is Request


def test_a_task_in_the_hands_of_its_module_is_covered_too(app: Celery) -> None:
    """The task that a module kept before the worker began claims and retries as the one in the registry."""
    kept = app.task(base=_Foreign, name="kept", autoretry_for=(ValueError,), shared=False)(_nothing)
    seen: list[object] = []
    registered = app.register_task(_WithState(seen))
    app.finalize()
    assert kept.name == "kept"
    cover(app)
    assert isinstance(kept, Claiming)
    assert maybe_evaluate(kept) is app.tasks["kept"]
    assert registered is app.tasks["with_state"]
    registered.run(1)
    assert seen == [1]


def test_a_time_limit_of_the_worker_is_for_tasks_without_their_own(app: Celery) -> None:
    """The main process enforces the limit of the task, else that of the worker."""
    app.task(name="own", time_limit=3, shared=False)(_nothing)
    app.task(name="none", shared=False)(_nothing)
    app.finalize()
    cover(app, hard=9)
    assert [app.tasks[name].hard_time_limit for name in ("own", "none")] == [3, 9]


def _nothing() -> None:
    """Do nothing."""
