"""An open WebSocket as the gauges of the process see it."""

from __future__ import annotations

from typing import Protocol


class OpenSocket(Protocol):
    """An open WebSocket with the operations of its client."""

    @property
    def operation_count(self) -> int:
        """The number of operations under way."""
