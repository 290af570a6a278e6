"""Inputs that have only leaves for fields, whose values need no conversion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FromLeaves:
    """A function that builds an input of its type, in the form in which Strawberry calls it.

    Args:
        names: the names of the attributes by those of the fields in the schema.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def __call__(self, type_: type, value: Mapping[str, Any], _context: object = None) -> Any:
        """Return the input with the coerced values of its fields."""
        names = self._names
        return type_(**{names[name]: item for name, item in value.items()})
