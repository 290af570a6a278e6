"""An index of live lists: finds, for a change of a task, all lists that the task may match or may have matched. No I/O.

A list is found by one of the equalities that its filter requires. A change concerns it only if the task meets that
equality now, or met it in a former state. Lists whose filters require none are found for every change.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from gql_api.query.equalities import Equality, Subject
from gql_api.record.reads import TaskRecord

# An equality of more values takes too much memory.
_MAX_KEYS = 100

AnyList = TypeVar("AnyList", bound=Hashable)


class ListIndex(Generic[AnyList]):
    """The lists by the keys of the equality that each is found by."""

    def __init__(self) -> None:
        self._tables: dict[Subject, dict[Hashable, set[AnyList]]] = {}
        self._without_equality: set[AnyList] = set()
        self._equalities: dict[AnyList, Equality] = {}

    def add(self, list_: AnyList, required: Iterable[Equality]) -> None:
        """Add a list, with the equalities that its filter requires."""
        usable = [equality for equality in required if sum(map(len, equality.values())) <= _MAX_KEYS]
        if not usable:
            self._without_equality.add(list_)
            return
        equality = self._equalities[list_] = min(usable, key=self._load)
        for subject, keys in equality.items():
            table = self._tables.setdefault(subject, {})
            for key in keys:
                table.setdefault(key, set()).add(list_)

    def remove(self, list_: AnyList) -> None:
        """Remove a list."""
        self._without_equality.discard(list_)
        for subject, keys in self._equalities.pop(list_, {}).items():
            table = self._tables[subject]
            for key in keys:
                table[key].discard(list_)
                if not table[key]:
                    del table[key]
            if not table:
                del self._tables[subject]

    def candidates(self, record: TaskRecord, former: Sequence[TaskRecord] | None) -> set[AnyList]:
        """Return the lists whose filters may match a task, or may have matched it in one of its former states.

        Args:
            record: the task as it is now.
            former: the former states; None if it may have been in any.
        """
        found = set(self._without_equality)
        for subject, table in self._tables.items():
            keys = _keys_in(subject, record, former)
            if keys is None:
                found.update(*table.values())
                continue
            for key in keys:
                if (lists := table.get(key)) is not None:
                    found |= lists
        return found

    def _load(self, equality: Equality) -> int:
        """Return a measure of how often lists are compared in vain that are found by an equality."""
        # The lists that have it already count too: 1,000 lists may require the same value, and one of their own.
        return sum(
            subject.share * (1 + len(self._tables.get(subject, {}).get(key, ())))
            for subject, keys in equality.items()
            for key in keys
        )


def _keys_in(subject: Subject, record: TaskRecord, former: Sequence[TaskRecord] | None) -> Iterable[Hashable] | None:
    """Return the keys of the values that a task has or had; None if they are not known."""
    try:
        keys = subject.keys_in(record)
        if subject.is_lasting:
            return keys
        return None if former is None else {*keys, *(key for state in former for key in subject.keys_in(state))}
    except LookupError:
        return None
