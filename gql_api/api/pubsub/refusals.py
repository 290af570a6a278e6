"""Messages on the channels of events that are none, or that fail a watcher: each stays with itself."""

from __future__ import annotations

import logging

from gql_api.telemetry.counters import REFUSED_EVENTS

logger = logging.getLogger(__name__)

MAX_JUMP = 1000
"""How much higher than the last one the revision of an event may be, before MongoDB has to confirm it."""
# Any client of Redis can publish anything: the log does not grow by it.
_MAX_KINDS = 100
_logged: set[str] = set()


def note_refusal(channel: str, error: Exception) -> None:
    """Count the exception that a message has caused, and log the first of its kind.

    The caller goes on: the messages after this one are delivered.
    """
    REFUSED_EVENTS.inc()
    kind = type(error.__cause__ or error).__name__
    if kind not in _logged and len(_logged) < _MAX_KINDS:
        _logged.add(kind)
        message = "A message on the channel %s was refused, and others like it are only counted: %s"
        logger.warning(message, ascii(channel), error, exc_info=error)
