"""Task functions for the tests of values: large texts, typed values, typed parameters."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, NoReturn

from celery import shared_task
from celery.utils.log import get_task_logger
from pydantic import BaseModel, Field

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


@shared_task
def fails_with(text: str) -> None:
    """Log a text and raise it."""
    get_task_logger(__name__).warning("logged: %s", text)
    raise ValueError(text)


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
def same(value: Any) -> Any:
    """Return what it was given."""
    return value


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


@dataclass
class Item:
    """A part of an order, which Celery hands over as a dictionary."""

    due: date
    price: Decimal


class Order(BaseModel):
    """A model, which converts texts itself."""

    when: date
    key: uuid.UUID
    price: Decimal
    content: bytes = b""


def _named(value: Any) -> Any:
    """Return the value with the name of its type, and so the values in it."""
    if isinstance(value, dict):
        return {name: _named(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_named(item) for item in value]
    return f"{type(value).__name__} {value}"


@shared_task
def typed_call(
    when: date = date(2026, 1, 1),
    at: datetime | None = None,
    clock: time | None = None,
    price: Decimal = Decimal(1),
    key: uuid.UUID | None = None,
    content: bytes = b"\xff",
    days: list[date] | None = None,
    by_name: dict[str, Decimal] | None = None,
    pair: tuple[date, int] | None = None,
    item: Item | None = None,
    order: Order | None = None,
    text_or_date: str | date = "",
    number_or_decimal: float | Decimal = 0.0,
    moment: date | datetime | None = None,
    wait: timedelta | None = None,
    percent: Annotated[Decimal, Field(le=100)] | None = None,
    anything: Any = None,
) -> dict[str, Any]:
    """Return the types and the values that came."""
    return {name: _named(value) for name, value in locals().items()}


@shared_task(pydantic=True)
def modelled(order: Order) -> Order:
    """Take a model by Celery's own means."""
    return order
