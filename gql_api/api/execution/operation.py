"""An operation as a client sends it, and its refusal."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from gql_api.api.errors import ApiError
from gql_api.api.execution.encoding import encode


@dataclass(frozen=True)
class Operation:
    """An operation of a document, with the values of its variables."""

    query: str
    variables: dict[str, Any] | None = None
    name: str | None = None

    def key(self, principal: Hashable) -> Hashable:
        """Return a key that is equal for equal operations of the same principal."""
        return principal, self.query, self.name, encode(self.variables, sort_keys=True)


class RefusedOperationError(ApiError):
    """The operation was not executed: the document or its variables are invalid. ``errors`` is a JSON list."""

    def __init__(self, errors: bytes) -> None:
        super().__init__()
        self.errors = errors
