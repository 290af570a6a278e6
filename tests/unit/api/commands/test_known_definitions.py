from __future__ import annotations

import asyncio
from typing import cast

import pytest

from gql_api.api.commands import known_definitions
from gql_api.api.commands.known_definitions import KnownDefinitions
from gql_api.api.store.tasks import TaskStore
from gql_api.registry.definitions import TaskDefinition


class _Store:
    """Definitions by name, and the reads of them."""

    def __init__(self, *names: str) -> None:
        self.names = [*names]
        self.reads: list[list[str]] = []

    async def definitions(self, names: list[str]) -> list[TaskDefinition]:
        """Read those with these names."""
        self.reads.append(names)
        await asyncio.sleep(0)
        return [TaskDefinition(name, {"type": "object"}) for name in names if name in self.names]


async def test_calls_that_arrive_together_share_a_read() -> None:
    """However many calls meet a definition that is too old, MongoDB is asked for it once."""
    store = _Store("a", "b")
    known = KnownDefinitions(cast("TaskStore", store))
    found = await asyncio.gather(*(known.of({"a", name}) for name in "abcabc"))
    assert [sorted(each) for each in found] == [["a"], ["a", "b"], ["a"]] * 2
    assert store.reads == [["a", "b", "c"]]
    assert (await known.of({"a", "b"})).keys() == {"a", "b"}
    assert len(store.reads) == 1


async def test_definitions_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has not changed keeps its validator; one that has gone is forgotten; no other name is asked for."""
    store = _Store("a", "b")
    known = KnownDefinitions(cast("TaskStore", store))
    first = await known.of({"a", "b"})
    monkeypatch.setattr(known_definitions, "_SECONDS", -1.0)
    store.names.remove("b")
    again = await known.of({"a", "b", "\ud800"})
    assert again.keys() == known.known({"a", "b"}).keys() == {"a"}
    assert again["a"] is first["a"]
    assert store.reads == [["a", "b"], ["a", "b"]]
