"""Task functions for the tests of values: large texts, typed values, typed parameters."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from celery import shared_task

from gql_api.worker.app.task import Task


class MuteError(Exception):
    """An error whose text cannot be read."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("no text")


class PairError(Exception):
    """An error with a small and a large argument."""

    def __init__(self, small: int, large: Any) -> None:
        super().__init__(small, large)


@shared_task(bind=True, max_retries=1)
def raises(self: Task, kind: str, size: int) -> None:
    """Raise an error of some kind, with a text of some size."""
    errors: dict[str, BaseException] = {
        "text": ValueError("é" * size),
        "mute": MuteError("x" * size),
        "pair": PairError(7, {"rows": ["é" * size]}),
        "many": ValueError(*range(size)),
    }
    if kind == "retry":
        raise self.retry(exc=ValueError("é" * size), countdown=0)
    if kind == "caused":
        raise RuntimeError("outer") from errors["text"]
    raise errors[kind]


@shared_task(bind=True)
def reports(self: Task, size: int, state: str) -> str:
    """Report much, by the method or by a state."""
    if state == "method":
        self.report_progress(1, 2, "é" * size)
    else:
        self.update_state(state=state, meta={"current": 1, "total": 2, "message": "é" * size, "rows": ["x" * size, 1]})
    return "reported"


@shared_task(bind=True)
def returns(self: Task, args: list[Any], values: dict[str, Any]) -> list[Any]:
    """Put what it was given everywhere, and return it."""
    self.update_metadata({"own": {name: value for name, value in values.items() if name != "huge"}})
    self.update_state(state="PROGRESS", meta={"current": 1, **values})
    return [args, values]


@shared_task
def looks_typed() -> list[Any]:
    """Return objects that look like Celery's typed values."""
    return [{"__type__": "point", "__value__": [1, 2]}, {"__type__": "date", "__value__": "soon"}]


@shared_task
def odd_defaults(limit: float = math.inf, huge: int = 2**70) -> None:
    """Have defaults that JSON writers differ about."""


@shared_task
def placed(a: int, b: int = 2, /, c: int = 3, *rest: int, d: int = 4) -> list[Any]:
    """Take arguments in every way but by any name."""
    return [a, b, c, *rest, d]


@shared_task
def placed_or_named(a: int, b: int = 2, /, **names: Any) -> list[Any]:
    """Take any name, those of the first parameters too."""
    return [a, b, names]
