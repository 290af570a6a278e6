"""An application with task classes of its own, as Flask's documentation makes one, and its task functions."""

from __future__ import annotations

import contextvars
import os
from typing import Any

import celery
from celery import Celery, shared_task
from celery.exceptions import Ignore

from gql_api.adopt import Task, adopt

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
app.conf.task_default_queue = "classes"


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
