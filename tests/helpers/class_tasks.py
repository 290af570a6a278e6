"""An application with task classes of its own, as Flask's documentation makes one, and its task functions."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import time
from typing import Any

import celery
from celery import Celery, current_task, shared_task
from celery.exceptions import Ignore
from celery.utils.log import get_task_logger
from pydantic import BaseModel
from redis.asyncio import Redis

from gql_api.adopt import Task, TaskCancelledError, adopt

logger = get_task_logger(__name__)

_context: contextvars.ContextVar[str] = contextvars.ContextVar("context")


class ContextTask(celery.Task):  # type: ignore[misc] # Celery has no types
    """A task class as Flask's documentation has it: it enters the application's context."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function within the context."""
        token = _context.set("entered")
        try:
            return self.run(*args, **kwargs)
        finally:
            _context.reset(token)


class Plain(celery.Task):  # type: ignore[misc] # Celery has no types
    """A task class for some functions, with a start of its own that does not call Celery's."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Refuse what is not allowed."""
        if args == ["refused"]:
            raise Ignore


app = adopt(Celery("classes", broker=os.environ["CELERY_BROKER_URL"], task_cls=ContextTask))
app.conf.task_default_queue = "threads"


@app.task(bind=True)  # type: ignore[untyped-decorator] # Celery's
def in_context(self: Task) -> str:
    """Use the context of the application and all of our methods."""
    self.report_progress(1, 2, "half")
    self.log("in context")
    self.update_metadata({"context": _context.get()})
    return f"{_context.get()} {self.metadata} {self.is_cancelled()}"


@shared_task(bind=True, base=Plain)  # type: ignore[untyped-decorator] # as above
def of_plain_class(self: Task, value: str) -> list[Any]:
    """Use our methods in a task of a plain class, where the application's class does not apply."""
    self.report_progress(1, 2, "half")
    self.log("plain")
    self.update_metadata({"value": value})
    return [value, self.metadata, _context.get("no context")]


@app.task(bind=True)  # type: ignore[untyped-decorator] # as above
async def does_everything(self: Task, x: int) -> dict[str, Any]:
    """Use everything that a function may use, in the coroutine and in what it starts."""

    async def part(number: int) -> str:
        await asyncio.sleep(0.01)
        self.log("part %d", number)
        return str(current_task.request.id)

    logger.warning("begins")
    self.report_progress(x, 10, "some")
    self.update_metadata({"x": x})
    ids = {*await asyncio.gather(part(1), part(2)), await asyncio.to_thread(lambda: current_task.request.id)}
    sent = of_plain_class.delay("sent").id
    return {
        "own": ids == {self.request.id} and current_task.name == self.name,
        "context": _context.get(),
        "metadata": self.metadata,
        "sent": sent,
        "model": await gives_model(Model(number=x)) == Model(number=x),
        "in place": gives_model.apply(({"number": x},)).result,
    }


@app.task(bind=True, max_retries=3)  # type: ignore[untyped-decorator] # as above
async def retries(self: Task, in_group: bool = False) -> int:
    """Ask twice for a retry."""

    async def asks() -> None:
        await asyncio.sleep(0)
        raise self.retry(exc=ValueError("not yet"), countdown=0)

    if self.request.retries < 2:
        if not in_group:
            await asks()
        async with asyncio.TaskGroup() as group:
            group.create_task(asks())
    return int(self.request.retries)


@app.task(bind=True, autoretry_for=(KeyError,), retry_kwargs={"countdown": 0})  # type: ignore[untyped-decorator] # as above
async def retried_by_celery(self: Task) -> int:
    """Raise what Celery answers with a retry."""
    await asyncio.sleep(0)
    if self.request.retries < 1:
        raise KeyError("not yet")
    return int(self.request.retries)


class Model(BaseModel):
    """A number."""

    number: int


@app.task(pydantic=True)  # type: ignore[untyped-decorator] # as above
async def gives_model(model: Model) -> Model:
    """Give back what it was given."""
    return model


@app.task  # type: ignore[untyped-decorator] # as above
async def fails(kind: str) -> None:
    """Raise an error in a coroutine of its own."""

    async def inner() -> None:
        await asyncio.sleep(0)
        if kind == "cancelled":
            raise asyncio.CancelledError
        raise ValueError("no")

    await inner()


@app.task(bind=True)  # type: ignore[untyped-decorator] # as above
async def until_cancelled(self: Task, key: str) -> None:
    """Report progress until somebody wants no more."""
    async with Redis.from_url(os.environ["CELERY_BROKER_URL"]) as redis:
        await redis.rpush(key, f"{self.request.id} {id(asyncio.get_running_loop())}")
        try:
            while True:
                self.report_progress(1)
                await asyncio.sleep(0.05)
        except TaskCancelledError:
            await redis.rpush(key, f"cleaned {self.request.id}")
            raise


@app.task(bind=True, soft_time_limit=1)  # type: ignore[untyped-decorator] # as above
async def exceeds_limit(self: Task, result: str | None = None) -> str:
    """Wait for longer than it may, and clean up."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        self.log("cleaned")
        if result is None:
            raise
    return result or "too late"


@app.task(bind=True)  # type: ignore[untyped-decorator] # as above
async def leaves_behind(self: Task) -> None:
    """Leave a coroutine behind that reports in the name of whatever task runs."""

    async def goes_on() -> None:
        for _ in range(10):
            await asyncio.sleep(0.05)
            logger.warning("left behind")
            self.log("left behind")
            self.report_progress(9, 9, "left behind")

    self._left = asyncio.create_task(goes_on())  # asyncio needs a reference


@app.task(bind=True)  # type: ignore[untyped-decorator] # as above
def waits(self: Task, seconds: float) -> None:
    """Wait, in a function that is no coroutine."""
    self.log("waits")
    time.sleep(seconds)


@app.task  # type: ignore[untyped-decorator] # as above
def runs_a_loop() -> str:
    """Run an event loop of its own, in a function that is no coroutine."""
    with contextlib.suppress(RuntimeError):
        return f"within {asyncio.get_running_loop()}"

    async def returns() -> str:
        await asyncio.sleep(0.05)
        return "done"

    return asyncio.run(returns())
