"""The redactions of task functions: those of this application, and those that workers of others have announced."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any

from gql_api.record import fields, queries
from gql_api.registry import workers
from gql_api.registry.redaction import Redaction
from gql_api.worker.store.connections import Connections

if TYPE_CHECKING:
    import celery

_ATTRIBUTE = "gql_api_redaction"
# An announcement is read again after this time.
_KNOWN_SECONDS = 5.0


def redaction_of(task: celery.Task) -> Redaction | None:
    """Return the redaction of a task function.

    Raises:
        ValueError: its ``redact`` is wrong.
    """
    if _ATTRIBUTE in vars(task):
        known: Redaction | None = getattr(task, _ATTRIBUTE)
        return known
    entries: Any = getattr(task, "redact", ())
    redaction = None
    # A class of the application's own may have a method of this name.
    if entries and not callable(entries):
        try:
            redaction = Redaction.of(entries, inspect.signature(task.run))
        except ValueError as error:
            raise ValueError(f"task {task.name}: {error}") from None
    setattr(task, _ATTRIBUTE, redaction)
    return redaction


class AnnouncedRedactions:
    """The redactions of functions that this application does not have, by their names, as MongoDB has them."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._known: dict[str, tuple[float, Redaction | None]] = {}

    def find(self, name: str) -> Redaction | None:
        """Return the redaction of a function; None also for a function that no worker has announced."""
        now = time.monotonic()
        read_at, redaction = self._known.get(name, (float("-inf"), None))
        if now - read_at > _KNOWN_SECONDS:
            definitions = self._connections.database()[fields.DEFINITIONS]
            document = definitions.find_one(queries.by_id(name), workers.REDACTION_ONLY)
            redaction = None if document is None else workers.redaction_from(document)
            self._known[name] = now, redaction
        return redaction
