"""The producer that Celery publishes a new message with: the task is recorded with the message as handlers left it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message as it is about to leave, after the handlers of ``before_task_publish``."""

    body: tuple[Any, Any, Any]
    headers: dict[str, Any]
    # Its other options, the priority among them.
    options: Mapping[str, Any]


class RecordingProducer:
    """A producer that records the task of the first message, then publishes that unless the task waits.

    Celery's own code calls it once or, to try again, several times, and then for the event ``task-sent``.

    Args:
        producer: publishes.
        record: stores the record and returns the headers to publish, or None if no message is to be published now.
        note_sent: is called with the headers when the broker has the message.
    """

    def __init__(
        self,
        producer: Any,
        record: Callable[[Outgoing], dict[str, Any] | None],
        note_sent: Callable[[dict[str, Any]], None],
    ) -> None:
        self._producer = producer
        self._record = record
        self._note_sent = note_sent
        self._headers: dict[str, Any] | None = None
        self.outgoing: Outgoing | None = None
        """The message, once its task is recorded."""

    def publish(self, body: Any, **options: Any) -> Any:
        """Record the task at the first call, and publish."""
        if self.outgoing is None:
            outgoing = Outgoing(body, options["headers"], options)
            self._headers = self._record(outgoing)
            self.outgoing = outgoing
        if body is not self.outgoing.body:
            return self._producer.publish(body, **options)
        if self._headers is None:
            return None
        published = self._producer.publish(body, **{**options, "headers": self._headers})
        self._note_sent(self._headers)
        return published

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)
