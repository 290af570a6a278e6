"""The reports of task functions, made storable: a wrong number, message, meta or level must not fail its task."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any, SupportsFloat, cast

from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_task_logger
from kombu.exceptions import EncodeError
from kombu.utils.encoding import safe_repr

from gql_api.record.model import Progress
from gql_api.worker.backend.translation import PROGRESS

# It writes to the worker's log and to the log of the task.
logger = get_task_logger(__name__)

Number = SupportsFloat | str
_SHOWN_LENGTH = 200

_warned: set[tuple[str, str]] = set()


class Reporter:
    """The reports of one task function. Of what is wrong in them, each field is logged once in a process."""

    def __init__(self, task_name: str) -> None:
        self._name = task_name

    def progress(self, current: Number | None, total: Number | None, message: object) -> Progress | None:
        """Return a report of what is usable; None if neither a number nor a message is left of it."""
        text = None if message is None else self._text(message)
        progress = Progress(self._number("current", current), self._number("total", total), text)
        if progress.current is None and progress.message is None:
            self._warn("current", "a number or a message is required")
            return None
        return progress

    def update(
        self, state: str | None, meta: Any, update: Callable[[Any], object], encode: Callable[[Any], object]
    ) -> None:
        """Call ``update`` with as much of a meta as can be stored.

        If nothing of the meta can be stored, progress is left out, and another state is stored without a meta.
        """
        for part in _parts(meta, encode):
            error = _encode_error(update, part)
            if error is None:
                return
            self._warn("meta", f"cannot be stored with the state {state}: {shown(error)}")
        if state != PROGRESS:
            update(None)

    def level(self, level: object) -> int:
        """Return the number of a level of ``logging``; that of INFO for anything else."""
        if isinstance(level, int):
            return level
        number = logging.getLevelNamesMapping().get(level.upper()) if isinstance(level, str) else None
        if number is None:
            self._warn("level", f"must be a level of logging, got {shown(level)}")
            return logging.INFO
        return number

    def _number(self, field: str, value: Number | None) -> float | None:
        if value is None:
            return None
        try:
            number = float(value)
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 - whatever the value raises
            number = math.nan
        if math.isfinite(number):
            return number
        self._warn(field, f"must be a finite number, got {shown(value)}")
        return None

    def _text(self, message: object) -> str | None:
        """Return a message, which may be an exception or a lazy translation, which may be long."""
        try:
            return str(message)
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 - whatever the message raises
            self._warn("message", f"must be a text, got {shown(message)}")
            return None

    def _warn(self, field: str, problem: str) -> None:
        if (self._name, field) not in _warned:
            _warned.add((self._name, field))
            logger.warning("Reports of the task function %s: %s: %s", self._name, field, problem)


def _parts(meta: Any, encode: Callable[[Any], object]) -> Iterator[Any]:
    """Yield a meta, and after that what can be stored of it."""
    yield meta
    if isinstance(meta, dict):
        items = {key: value for key, value in meta.items() if _encode_error(encode, {key: value}) is None}
        if 0 < len(items) < len(meta):
            yield items


def _encode_error(take: Callable[[Any], object], value: Any) -> Exception | None:
    """Return why a value cannot be encoded; None if ``take`` has taken it."""
    try:
        take(value)
    except (EncodeError, RecursionError) as error:
        if isinstance(error.__context__, SoftTimeLimitExceeded):
            # The signal came while the value was encoded.
            raise error.__context__ from None
        return error
    return None


def formatted(message: object, args: tuple[object, ...]) -> str:
    """Format as ``logging`` does, with a single mapping as named arguments."""
    try:
        return logging.LogRecord("", 0, "", 0, message, args, None).getMessage()
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # noqa: BLE001 - whatever the arguments raise
        return shown((message, *args), None)


def shown(value: object, length: int | None = _SHOWN_LENGTH) -> str:
    """Return the representation of any value, also of one that has none."""
    return cast("str", safe_repr(value))[:length]  # type: ignore[no-untyped-call] # kombu has no types
