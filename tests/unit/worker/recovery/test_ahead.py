from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from gql_api.worker.recovery.ahead import ahead


class _Numbers:
    """Numbers from 0, with the number of those that were made."""

    def __init__(self, end: int, error: Exception | None = None) -> None:
        self._end = end
        self._error = error
        self.made = threading.Semaphore(0)
        self.number = 0

    def __iter__(self) -> Iterator[int]:
        for number in range(self._end):
            self.number += 1
            self.made.release()
            yield number
        if self._error is not None:
            raise self._error


def test_all_items_come_in_their_order() -> None:
    """Also none, and items that are false."""
    assert list(ahead(iter(_Numbers(5)))) == [0, 1, 2, 3, 4]
    assert list(ahead(iter([]))) == []
    assert list(ahead(iter([None, 0, ""]))) == [None, 0, ""]


def test_the_next_item_is_made_while_one_is_used() -> None:
    """No more than one is made ahead."""
    numbers = _Numbers(5)
    items = ahead(iter(numbers))
    assert next(items) == 0
    for _ in range(2):
        assert numbers.made.acquire(timeout=10)
    items.close()  # type: ignore[attr-defined] # a generator
    assert numbers.number == 2


def test_an_error_comes_in_the_place_of_the_item() -> None:
    """The items before it are used."""
    items = ahead(iter(_Numbers(2, ValueError("no more"))))
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="no more"):
        next(items)


def test_an_error_of_an_item_that_is_not_used_is_left() -> None:
    """A user that ends early gets no error of the next item."""
    items = ahead(iter(_Numbers(1, ValueError("no more"))))
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined] # a generator
