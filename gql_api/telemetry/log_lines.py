"""Lines of log that nobody can forge: control characters are escaped, and the further lines of a record indented."""

from __future__ import annotations

import copy
import logging
import re

# Terminals obey these, and readers of a log take some of them for the end of a line.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_CONTINUED = "\n    "
# The messages of these name tasks, and are single lines.
_SINGLE_LINE = ("celery.", "gql_api", "kombu.", "uvicorn")


def escaped(text: str) -> str:
    """Return a text of one line: with its control characters and line ends as escape sequences of Python's."""
    return _without_controls(text).replace("\n", r"\n")


def indented(text: str) -> str:
    """Return a text whose lines after the first are indented, without other control characters."""
    return _without_controls(text).replace("\n", _CONTINUED)


def _without_controls(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class SafeFormatter(logging.Formatter):
    """A formatter that escapes what the messages and the tracebacks of records have, then formats by another one.

    Tracebacks, and messages of several lines that a program logs itself, keep their lines, indented.
    """

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record, which other handlers receive as it was."""
        message = record.getMessage()
        has_more = record.exc_info or record.exc_text or record.stack_info
        if not has_more and message.isprintable():  # nothing to escape, as in nearly all lines: a copy takes longer
            return self._formatter.format(record)
        safe = copy.copy(record)
        safe.msg, safe.args = (escaped if record.name.startswith(_SINGLE_LINE) else indented)(message), None
        if record.exc_info and not record.exc_text:
            safe.exc_text = self._formatter.formatException(record.exc_info)
        if safe.exc_text:
            safe.exc_text = indented(f"\n{safe.exc_text}").removeprefix("\n")
        if safe.stack_info:
            safe.stack_info = indented(safe.stack_info)
        return self._formatter.format(safe)
