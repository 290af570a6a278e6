"""The values of reports, as far as they can be used."""

from __future__ import annotations

import logging
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import EncodeError
from kombu.utils.json import dumps

from gql_api.record.model import Progress
from gql_api.worker.app.reports import Reporter


class Late:
    """A value during whose conversion the time limit of the task is reached."""

    def __float__(self) -> float:
        raise SoftTimeLimitExceeded

    def __str__(self) -> str:
        raise SoftTimeLimitExceeded

    __json__ = __str__


@pytest.fixture
def reporter() -> Reporter:
    """The reports of a task function that has reported nothing wrong yet."""
    return Reporter(str(uuid.uuid4()))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((5, 10), Progress(5.0, 10.0)),
        (("5", " 1e1 "), Progress(5.0, 10.0)),
        ((Decimal("0.5"), Fraction(1, 2), 7), Progress(0.5, 0.5, "7")),
        ((None, None, "text"), Progress(message="text")),
        (("nan", 10, "text"), Progress(None, 10.0, "text")),
        ((1, "inf"), Progress(1.0)),
        ((1, 2, "x" * 2000), Progress(1.0, 2.0, "x" * 2000)),
        ((None, 10), None),
        ((10**400, 10), None),
    ],
)
def test_what_is_usable_is_reported(reporter: Reporter, given: tuple[Any, ...], expected: Progress | None) -> None:
    """Text and all kinds of numbers are converted; without a number and a message there is nothing to report."""
    assert reporter.progress(given[0], given[1], given[2] if len(given) > 2 else None) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [("warning", 30), ("ERROR", 40), (10**30, 10**30), ("loud", 20), (None, 20), (1.5, 20), (b"INFO", 20)],
)
def test_a_level_that_does_not_exist_is_info(reporter: Reporter, given: object, expected: int) -> None:
    """A line with a wrong level is kept."""
    assert reporter.level(given) == expected


def test_each_field_is_logged_once(reporter: Reporter, caplog: pytest.LogCaptureFixture) -> None:
    """A loop that reports nonsense does not fill the log."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            reporter.progress("x", "y", "message")
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "current: must be a finite number, got 'x'",
        "total: must be a finite number, got 'y'",
    ]


@pytest.mark.parametrize(
    ("state", "meta", "expected"),
    [
        ("PROGRESS", {"a": 1}, [{"a": 1}]),
        ("PROGRESS", {"a": 1, "b": object()}, [{"a": 1}]),
        ("PROGRESS", object(), []),
        ("UPLOADING", {"b": object()}, [None]),
        ("UPLOADING", None, [None]),
    ],
)
def test_what_can_be_stored_of_a_meta_is_stored(reporter: Reporter, state: str, meta: Any, expected: list[Any]) -> None:
    """A state of one's own is set without its meta; progress without any is not reported."""
    stored: list[Any] = []

    def update(part: Any) -> None:
        _encode(part)
        stored.append(part)

    reporter.update(state, meta, update, _encode)
    assert stored == expected


def test_a_time_limit_is_no_wrong_value(reporter: Reporter) -> None:
    """The signal of a soft time limit may come anywhere, and ends the function all the same."""
    late: Any = Late()
    with pytest.raises(SoftTimeLimitExceeded):
        reporter.progress(late, None, None)
    with pytest.raises(SoftTimeLimitExceeded):
        reporter.progress(None, None, late)
    with pytest.raises(SoftTimeLimitExceeded):
        reporter.update("PROGRESS", late, _encode, _encode)


def _encode(value: Any) -> str:
    # As Celery's serializer does.
    try:
        return str(dumps(value))  # type: ignore[no-untyped-call] # kombu has no types
    except Exception as error:  # noqa: BLE001 - as Celery does
        raise EncodeError(error)  # noqa: B904 - as above
