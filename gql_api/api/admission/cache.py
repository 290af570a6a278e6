"""A cache that is bounded by the weight of what it keeps: clients write the keys, and choose how large they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from graphql import OperationDefinitionNode, Source

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")
CACHE_BYTES: Final = 16 * 1024 * 1024
"""How much the plans of the process may weigh, and what is known about their selections."""

# A token takes about 1 KiB as nodes; what is made from the nodes takes as much again.
_BYTES_PER_TOKEN = 2048


class WeighedSource(Source):
    """A document's text, with the number of bytes that the parsed document takes in memory, roughly."""

    def __init__(self, body: str) -> None:
        super().__init__(body)
        self.weight = len(body)

    def weigh(self, tokens: int) -> None:
        """Set the weight, when the number of tokens is known."""
        self.weight = len(self.body) + tokens * _BYTES_PER_TOKEN


def weight_of(operation: OperationDefinitionNode) -> int:
    """Return how many bytes the document of an operation takes in memory, roughly."""
    source = None if operation.loc is None else operation.loc.source
    return source.weight if isinstance(source, WeighedSource) else _BYTES_PER_TOKEN


class WeighedCache(Generic[_Key, _Value]):
    """A mapping that forgets what was used least recently, when all values together weigh too much."""

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._items: OrderedDict[_Key, tuple[_Value, int]] = OrderedDict()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: _Key) -> _Value | None:
        """Return a value, which is then the most recently used one, or None."""
        item = self._items.get(key)
        if item is None:
            return None
        self._items.move_to_end(key)
        return item[0]

    def put(self, key: _Key, value: _Value, weight: int) -> None:
        """Keep a value; one that is too heavy for the cache is not kept."""
        if weight > self._max_weight:
            return
        previous = self._items.pop(key, None)
        self.weight += weight - (0 if previous is None else previous[1])
        self._items[key] = value, weight
        while self.weight > self._max_weight:
            self.weight -= self._items.popitem(last=False)[1][1]
