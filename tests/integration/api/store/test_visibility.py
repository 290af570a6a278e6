"""Each read and write of the store: what a principal may not see is neither found nor changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from owners import ALICE, BOB, CAROL, HEAD, RED, with_metadata
from pymongo.collection import Collection

from gql_api.access.principal import Principal
from gql_api.access.visibility import Visibility
from gql_api.api.store.budget import ReadBudget
from gql_api.api.store.lists import ChildCount, ChildPage
from gql_api.api.store.partial_reads import TaskRead
from gql_api.api.store.tasks import TaskStore
from gql_api.query.facets import FacetField
from gql_api.query.lists import Order, OrderField, PageRequest
from gql_api.record import bulk, control
from gql_api.record.model import NewTask
from gql_api.record.queries import WHOLE
from gql_api.record.reads import Document

pytestmark = pytest.mark.usefixtures("prepared")

_PAGE = PageRequest(Order(), 10)
_RECORD = NewTask(id="a", name="add", metadata={"team": "red"}, owner="alice", tenant="acme", parent_id="parent")
Call: TypeAlias = Callable[[TaskStore, Visibility], Awaitable[Any]]

# Each with what it returns for somebody who does not see the task.
_READS: dict[str, tuple[Call, Any]] = {
    "get": (lambda store, seen: store.get("a", seen), None),
    "get_many": (lambda store, seen: store.get_many(["a"], seen), []),
    "documents": (lambda store, seen: store.documents(["a"], seen), []),
    "revisions": (lambda store, seen: store.revisions(["a"], seen), {}),
    "children_of": (lambda store, seen: store.children_of(["parent"], seen), []),
    "partial": (lambda store, seen: store.partial.load(TaskRead("a", WHOLE, ReadBudget(), seen)), None),
    "page": (lambda store, seen: store.lists.page({}, _PAGE, seen), []),
    "part_of_page": (lambda store, seen: store.lists.part_of_page({}, _PAGE, seen, WHOLE, ReadBudget()), []),
    "count": (lambda store, seen: store.lists.count({}, seen), 0),
    "facet of a status": (lambda store, seen: store.lists.facet({}, seen, FacetField.STATUS, 10), []),
    "facet": (lambda store, seen: store.lists.facet({}, seen, FacetField.NAME, 10), []),
    "metadata_facet": (lambda store, seen: store.lists.metadata_facet({}, seen, "team", 10), []),
    "child_pages": (
        lambda store, seen: store.lists.child_pages([ChildPage("parent", _PAGE, WHOLE, ReadBudget(), seen)]),
        [[]],
    ),
    "child_counts": (lambda store, seen: store.lists.child_counts([ChildCount("parent", seen)]), [0]),
}
_WRITES: dict[str, tuple[Call, Any]] = {
    "change": (lambda store, seen: store.change(control.cancel_waiting("a", None), seen), None),
    "change_many": (lambda store, seen: store.change_many([bulk.mark_replayed(["a"])], seen), 0),
    "delete": (lambda store, seen: store.deletions.delete(["a"], seen), ([], 0)),
}


@pytest.fixture
async def world(store: TaskStore) -> TaskStore:
    """A store with one task of alice, whose parent is somebody else's."""
    await store.create_many([_RECORD, NewTask(id="parent", name="p", owner="none", tenant="none")])
    return store


def _others() -> dict[str, Principal]:
    """Principals that do not see the task of alice."""
    blue = dataclasses.replace(ALICE, filter=with_metadata("team", "blue"))
    return {"bob": BOB, "carol": CAROL, "blue": blue, "nobody": dataclasses.replace(ALICE, subject=None)}


@pytest.mark.parametrize("name", _READS)
async def test_a_read_finds_what_is_visible(world: TaskStore, name: str) -> None:
    """The owner, its narrowed token and the tenant's administrator find the task; others do as if it did not exist."""
    read, nothing = _READS[name]
    for principal in (ALICE, RED):
        assert await read(world, principal.visibility) != nothing
    for other, principal in _others().items():
        assert await read(world, principal.visibility) == nothing, other


@pytest.mark.parametrize("name", _WRITES)
async def test_a_write_changes_what_is_visible(world: TaskStore, tasks: Collection[Document], name: str) -> None:
    """Check and write are one operation: a task that is not visible stays as it is."""
    write, nothing = _WRITES[name]
    if name == "delete":
        await world.change(control.cancel_waiting("a", None), ALICE.visibility)
    before = [*tasks.find({})]
    for other, principal in _others().items():
        assert await write(world, principal.visibility) == nothing, other
    assert [*tasks.find({})] == before
    assert await write(world, RED.visibility) != nothing
    assert [*tasks.find({})] != before


async def test_a_write_checks_the_visibility_of_the_moment(world: TaskStore) -> None:
    """A task that has left the visibility since it was read does not change."""
    write = control.replace_metadata("a", {"team": "blue"}, None)
    assert await world.change(write, ALICE.visibility) is not None
    assert await world.change(control.cancel_waiting("a", None), RED.visibility) is None
    assert await world.change(control.cancel_waiting("a", None), HEAD.visibility) is not None


@pytest.mark.parametrize("tenant", [None, "acme"])
async def test_the_reads_of_an_owner_skip_the_tasks_of_others(
    store: TaskStore, tasks: Collection[Document], tenant: str | None
) -> None:
    """A list, a count and a facet of an owner, and of a tenant, examine the records of that one only."""
    await store.indexes.create()
    others = [
        NewTask(id=f"o{n:04}", name="add", owner=f"o{n % 3}", tenant=None if tenant is None else "other")
        for n in range(1000)
    ]
    own = [NewTask(id=f"a{n:04}", name="add", owner="alice", tenant=tenant) for n in range(50)]
    await store.create_many([*own, *others])
    principals = [dataclasses.replace(ALICE, tenant=tenant)]
    if tenant is not None:
        principals.append(HEAD)
    for principal in principals:
        seen = principal.visibility
        finds = [tasks.find(seen.narrowed({}))]
        for field in OrderField:
            page = PageRequest(Order(field), 20)
            finds.append(tasks.find(seen.narrowed({"$and": [page.query(), {}, {}]})).sort(page.sort()).limit(20))
        for find in finds:
            plan = find.explain()["executionStats"]
            assert plan["totalDocsExamined"] <= plan["totalKeysExamined"] <= 51
