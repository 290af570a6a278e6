"""Messages on the channels of events that are none, or that fail a watcher: each stays with itself."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from gql_api.telemetry.counters import REFUSED_EVENTS

logger = logging.getLogger(__name__)

MAX_JUMP = 1000
"""How much higher than the last one the revision of an event may be, before MongoDB has to confirm it."""
# Any client of Redis can publish anything: the log does not grow by it.
_MAX_KINDS = 100
_logged: set[str] = set()


@contextlib.contextmanager
def contained(channel: str) -> Iterator[None]:
    """Count an exception in the block, and log the first of its kind: the messages after this one are delivered."""
    try:
        yield
    except Exception as error:
        REFUSED_EVENTS.inc()
        cause = error.__cause__ or error
        kind = type(cause).__name__
        if kind not in _logged and len(_logged) < _MAX_KINDS:
            _logged.add(kind)
            message = "A message on the channel %s was refused, and others like it are only counted: %s"
            logger.warning(message, ascii(channel), error, exc_info=True)
