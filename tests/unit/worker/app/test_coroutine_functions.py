"""Coroutine functions as tasks, outside a worker: called, and run in place."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any

import celery
import pytest
from celery import Celery, current_task
from celery.exceptions import SoftTimeLimitExceeded
from pydantic import BaseModel

from gql_api.adopt import Task, adopt
from gql_api.worker.state import coroutines


class Model(BaseModel):
    """A number."""

    number: int
    text: str = "text"


@pytest.fixture
def app() -> Celery:
    """An adopted application."""
    return adopt(Celery("coroutines", set_as_current=False))


def _whoami(app: Celery, name: str = "whoami", **options: Any) -> celery.Task:
    @app.task(bind=True, name=name, shared=False, **options)  # type: ignore[untyped-decorator] # Celery's
    async def whoami(self: Task, x: int = 1, *, y: str = "a") -> tuple[int, str | None, str | None]:  # noqa: ARG001 - a parameter
        """Return what the function knows of its task."""
        await asyncio.sleep(0)
        return x, self.request.id, current_task.name if current_task else None

    return whoami


def test_the_signature_is_that_of_the_function(app: Celery) -> None:
    """Workers announce the parameters and the docstring of the function."""
    run = _whoami(app).run
    assert list(inspect.signature(run, eval_str=True).parameters) == ["x", "y"]
    assert run.__doc__ == "Return what the function knows of its task."


@pytest.mark.parametrize("call", [lambda task: task(5), lambda task: task.run(5)], ids=["task", "run"])
def test_a_call_returns_the_coroutine(app: Celery, call: Callable[[celery.Task], Any]) -> None:
    """A coroutine function that is called directly can be awaited, in a test perhaps."""
    assert asyncio.run(call(_whoami(app))) == (5, None, None)


def test_apply_runs_the_coroutine(app: Celery) -> None:
    """A task that runs in place knows itself; also where an event loop runs already, which waits for it."""
    task = _whoami(app)

    async def within_a_loop() -> Any:
        return task.apply((6,), task_id="t").get()

    expected = (6, "t", "whoami")
    assert task.apply((6,), task_id="t").get() == asyncio.run(within_a_loop()) == expected


def test_a_coroutine_runs_other_tasks(app: Celery) -> None:
    """A coroutine awaits the function of another task, and runs one in place, without a deadlock."""
    other = _whoami(app, autoretry_for=(KeyError,))
    before = threading.active_count()

    @app.task(bind=True, name="outer", shared=False)  # type: ignore[untyped-decorator] # Celery's
    async def outer(self: Task) -> Any:
        return other.apply((2,), task_id="inner").get(), await other(3), self.request.id

    assert outer.apply(task_id="o").get() == ((2, "inner", "whoami"), (3, None, "outer"), "o")
    # That of the process.
    assert threading.active_count() <= before + 1


def test_every_kind_of_coroutine_function_runs(app: Celery) -> None:
    """A task class, a decorated function, a wrapper that waits itself, a callable object, and a model as a result."""

    class Job(celery.Task):  # type: ignore[misc] # Celery has no types
        name = "job"
        autoretry_for = (KeyError,)

        async def run(self, x: int) -> int:
            return x

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        return functools.wraps(function)(lambda x: function(x + 0))

    def waiting(function: Callable[..., Any]) -> Callable[..., Any]:
        return functools.wraps(function)(lambda *args: asyncio.run(function(*args)))

    async def plain(x: int) -> int:
        return x

    async def model(given: Model) -> Model:
        return given

    app.register_task(Job())
    runs = {
        name: app.task(name=name, shared=False)(function)
        for name, function in {"decorated": decorated(plain), "waiting": waiting(plain), "plain": plain}.items()
    }
    dumps = app.task(name="model", shared=False, pydantic=True, pydantic_dump_kwargs={"include": {"number"}})(model)
    assert {name: task.apply((4,)).get() for name, task in runs.items()} == dict.fromkeys(runs, 4)
    assert app.tasks["job"].apply((4,)).get() == 4
    assert dumps.apply(({"number": 4},)).get() == {"number": 4}


def test_an_exit_of_a_part_does_not_end_the_loop(app: Celery) -> None:
    """A loop of asyncio ends for SystemExit in a task of its own; the next coroutine runs all the same."""

    async def exits() -> None:
        raise SystemExit

    async def starts() -> str:
        part = asyncio.create_task(exits())
        await asyncio.wait([part])
        return type(part.exception()).__name__

    assert coroutines.run(starts()) == "SystemExit"
    assert _whoami(app).apply((7,), task_id="t").get() == (7, "t", "whoami")


def test_a_forked_process_has_a_loop_of_its_own() -> None:
    """A pool process does not wait for the loop of the process that it was forked from."""

    async def returns() -> int:
        return 0

    assert coroutines.run(returns()) == 0
    with warnings.catch_warnings():
        # Newer versions of Python warn of a fork beside threads, which is what is tested.
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        os._exit(coroutines.run(returns()))  # the child must not run on in pytest
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, SoftTimeLimitExceeded])
def test_an_interrupted_wait_cancels_the_coroutine(error: type[BaseException]) -> None:
    """A worker that has to end, and a time limit, cancel the coroutine, which cleans up before the thread goes on."""
    cleaned = []

    def interrupt(*_: object) -> None:
        raise error

    async def waits() -> None:
        os.kill(os.getpid(), signal.SIGUSR2)
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    before = signal.signal(signal.SIGUSR2, interrupt)
    try:
        with pytest.raises(error):
            coroutines.run(waits())
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert cleaned == [True]
