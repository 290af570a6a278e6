"""Lines of log with whatever a client, a task or another worker puts into them."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from celery.app.log import TaskFormatter
from celery.utils.log import ColorFormatter
from hypothesis import given
from hypothesis import strategies as st

from gql_api.server.request_log import UtcFormatter
from gql_api.telemetry.log_lines import SafeFormatter

_FORMAT = "[%(levelname)s] %(message)s"
_FORGED = "x\n[ERROR] forged\r\x1b[2J\x9b1m\u2028\u202e\x00"
_FORMATTERS = [
    SafeFormatter(logging.Formatter(_FORMAT)),
    SafeFormatter(ColorFormatter(_FORMAT, use_color=False)),
    SafeFormatter(TaskFormatter(_FORMAT, use_color=False)),
    UtcFormatter(),
]


def _record(name: str, message: str, *args: object, exc_info: Any = None) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, args, exc_info)


def _fail(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize("formatter", _FORMATTERS, ids=["plain", "color", "task", "utc"])
@pytest.mark.parametrize("name", ["celery.app.trace", "gql_api.worker", "own.module"])
@given(st.text(st.characters(codec="utf-8")) | st.just(_FORGED))
def test_a_text_forges_no_record(formatter: logging.Formatter, name: str, text: str) -> None:
    """No line but the first begins in the first column, in messages and in tracebacks; no control character is left."""
    try:
        _fail(text)
    except ValueError:
        formatted = formatter.format(_record(name, "%s", text, exc_info=sys.exc_info()))
    first, *others = formatted.split("\n")
    assert "ERROR" in first
    assert all(line.startswith("    ") for line in others)
    assert len(formatted.splitlines()) == 1 + len(others)
    assert not any(
        ord(character) < 32 or 127 <= ord(character) < 160 for line in (first, *others) for character in line
    )
    assert "Traceback (most recent call last):" in formatted


def test_a_line_that_names_a_task_stays_one_line() -> None:
    """Celery's lines and ours are single; the lines that a program logs itself keep their line ends, indented."""
    formatter = SafeFormatter(logging.Formatter("%(message)s"))
    assert formatter.format(_record("celery.app.trace", "Task %s", "a\nb\x1b")) == r"Task a\nb\x1b"
    assert formatter.format(_record("shop", "Task %s", "a\nb\té")) == "Task a\n    b\\té"


def test_other_handlers_receive_the_record_as_it_was() -> None:
    """Those of an application format it by themselves."""
    record = _record("shop", "%s", _FORGED)
    SafeFormatter(logging.Formatter()).format(record)
    assert record.getMessage() == _FORGED


def test_colors_of_celery_stay() -> None:
    """They are the formatter's own."""
    assert "\x1b[" in SafeFormatter(ColorFormatter(_FORMAT, use_color=True)).format(_record("shop", "text"))
