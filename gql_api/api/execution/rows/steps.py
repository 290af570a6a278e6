"""The fields of an object in an answer, and the places of their values, which types of the schema declare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar

Read: TypeAlias = Callable[[Any], Any]
Resolver = TypeVar("Resolver", bound=Callable[..., Any])

_PLACE = "__place__"


class Path(property):
    """A property that reads an attribute of an object's attribute, like ``record.id``."""

    # A property over an attrgetter runs in C.
    def __init__(self, path: str) -> None:
        super().__init__(attrgetter(path))
        self.path = path


class Place(NamedTuple):
    """The place of a value: a name in the document of an object's attribute.

    Attributes:
        owner: the name of the attribute. Its value has a ``document``, and the names that the document ``omitted``
            although they may have a value.
        name: the name in the document.
        may_be_absent: whether the field is null where the document has no value, and omits none.
    """

    owner: str
    name: str
    may_be_absent: bool


class Stored(property):
    """A property whose value, where the document has one, is shown as stored. ``get`` reads it in all cases."""

    def __init__(self, get: Read, place: Place) -> None:
        super().__init__(get)
        self.place = place


def null_without(place: Place) -> Callable[[Resolver], Resolver]:
    """Declare that a resolver returns None where the document has no value."""

    def declare(resolver: Resolver) -> Resolver:
        setattr(resolver, _PLACE, place)
        return resolver

    return declare


def place_of(resolver: Read) -> Place | None:
    """Return the place without whose value a resolver returns None, if one was declared."""
    place: Place | None = getattr(resolver, _PLACE, None)
    return place


class Step(NamedTuple):
    """One key of an object in an answer: how its value is read from the source object, and completed.

    Attributes:
        key: the key.
        read: reads the value.
        kept: the types whose values go into the answer unchanged.
        complete: completes all other values.
        path: the path of attributes to the value, if it has one.
        place: the place of the value, if it has one.
        is_shown_as_stored: whether a value at the place is the value of the field.
        names: the completed values of some objects, by their ids.
    """

    key: str
    read: Read
    kept: frozenset[type]
    complete: Read
    path: str | None = None
    place: Place | None = None
    is_shown_as_stored: bool = False
    names: Mapping[int, str] = {}

    def __call__(self, source: Any) -> Any:
        """Read the value and complete it."""
        value = self.read(source)
        return value if type(value) in self.kept else self.complete(value)
