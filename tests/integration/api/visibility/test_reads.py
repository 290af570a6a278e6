"""The walk over all reads: each principal gets what an administrator gets of its own tasks, and nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from front import Front
from walk import (
    FILTERS,
    LISTED,
    OF_NO_TASK,
    ORDERS,
    PAGES,
    READS,
    STATISTICS_BY,
    on_id,
    statistics,
    with_fragments,
)
from world import UNKNOWN, World

from gql_api.api.statistics.counting import Counting
from gql_api.api.store.pages import choice
from gql_api.record.fields import FINAL_NAMES, Status
from gql_api.record.reads import Document

VIEWERS = ("alice", "bob", "carol", "red", "head")


def _page_of(page: dict[str, Any], ids: set[str]) -> dict[str, Any]:
    """Return the first page of a list, with all of its tasks, as it is for somebody who sees some of them."""
    edges = [edge for edge in page["edges"] if edge["node"]["id"] in ids]
    cursors = [edge["cursor"] for edge in edges]
    return {
        **page,
        "edges": edges,
        "nodes": [node for node in page["nodes"] if node["id"] in ids],
        "pageInfo": {
            **page["pageInfo"],
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
        },
        "totalCount": len(edges),
        "names": [{"value": "add", "count": len(edges)}] if edges else [],
        "secrets": [
            {"value": secret, "count": 1} for secret in sorted(edge["node"]["metadata"]["secret"] for edge in edges)
        ],
    }


def _task_of(task: dict[str, Any], ids: set[str]) -> dict[str, Any]:
    """Return a task as it is for somebody who sees it and some others."""
    relations = {
        name: related if (related := task[name]) and related["id"] in ids else None for name in ("parent", "replayOf")
    }
    return {**task, **relations, "children": _page_of(task["children"], ids)}


async def test_a_foreign_id_looks_like_an_unknown_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read by id has the same answer for both, byte for byte, and sends MongoDB the same commands."""
    # What the choice of an index has found out about the viewer's own tasks is not found out again in between.
    monkeypatch.setattr(choice, "_SECONDS", 600.0)
    for name in VIEWERS:
        front = world.acting_as(name)
        hidden = {each["_id"] for each in world.documents(name, visible=False) if each["metadata"]["n"] in (0, 4)}
        # A visible task may name a hidden one as its parent: that is what the visible one says.
        named = {each["parent_id"] for each in world.documents(name)}
        assert hidden - named
        for read, document in READS.items():
            answers = {}
            for task_id in (UNKNOWN, UNKNOWN, *(hidden - named if "parentId" in document else hidden)):
                world.commands.sent.clear()
                result = await front.ask(on_id("query", document), id=task_id)
                assert result.errors is None, read
                world.check_no_leak(name, result.data, but=task_id)
                text = json.dumps(result.data, default=str).replace(task_id, "ID")
                answers[task_id] = text, world.commands.counts()
            assert {task_id for task_id, answer in answers.items() if answer != answers[UNKNOWN]} == set(), read
            assert answers[UNKNOWN][1], read


async def test_a_task_is_whole_without_its_foreign_relations(world: World) -> None:
    """Parents, replayed tasks and children that are not visible are left out, in counts, facets and cursors too."""
    document = on_id("query", READS["task"])
    whole = {id_: (await world.acting_as("admin").data(document, id=id_))["task"] for id_ in world.ids("admin")}
    for name in VIEWERS:
        ids = world.ids(name)
        for task_id in ids:
            seen = (await world.acting_as(name).data(document, id=task_id))["task"]
            assert seen == _task_of(whole[task_id], ids)
            world.check_no_leak(name, seen)


def _value_of(task: Document, facet: str) -> str | None:
    value: str | None = task.get("error", {}).get("type") if facet == "errors" else task.get(facet)
    return value


async def test_a_list_has_the_visible_tasks_only(world: World) -> None:
    """With each kind of filter, its nodes, counts and facets are those of the administrator's list without others."""
    for filter_ in FILTERS:
        document = with_fragments(LISTED % filter_)
        everything = (await world.acting_as("admin").data(document))["tasks"]
        assert everything["nodes"]
        for name in VIEWERS:
            documents = {each["_id"]: each for each in world.documents(name)}
            seen = (await world.acting_as(name).data(document))["tasks"]
            expected = _page_of(everything, {*documents})
            for facet in ("status", "queue", "worker", "errors"):
                found = Counter(_value_of(documents[node["id"]], facet) for node in expected["nodes"])
                expected.pop(facet)
                counts = {bucket["value"]: bucket["count"] for bucket in seen.pop(facet)}
                assert counts == {value: count for value, count in found.items() if value is not None}, facet
            assert seen == expected, filter_
            world.check_no_leak(name, seen)


@pytest.mark.parametrize("is_counted", [False, True], ids=["from records", "from buckets"])
async def test_statistics_count_the_visible_tasks_only(world: World, is_counted: bool) -> None:
    """By each property and with each kind of filter, the sums are those of the visible tasks that the filter finds."""
    since, until = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
    if is_counted:
        await Counting(world.front.services.store, 0.0).count(until)
    for filter_ in FILTERS:
        for name in (*VIEWERS, "admin"):
            front = world.acting_as(name)
            listed = (await front.data(with_fragments(LISTED % filter_)))["tasks"]["nodes"]
            found = [each for each in world.documents(name) if each["_id"] in {node["id"] for node in listed}]
            created = 0 if {"statuses", "errorTypes", "finishedAt"} & {*re.findall(r"\w+", filter_)} else len(found)
            ended = {status: sum(each["status"] == status for each in found) for status in FINAL_NAMES}
            counted = await front.data(statistics(filter_), **{"from": since.isoformat(), "to": until.isoformat()})
            world.check_no_leak(name, counted)
            for by in STATISTICS_BY:
                rows = counted[f"by_{by}"]
                sums = {key: sum(row[key] for row in rows) for key in ("created", "succeeded", "failed", "revoked")}
                assert sums == {
                    "created": created,
                    "succeeded": ended[Status.SUCCESS],
                    "failed": ended[Status.FAILURE],
                    "revoked": ended[Status.REVOKED],
                }, (name, filter_, by)
                assert by != "WORKER" or {row["value"] for row in rows if row["succeeded"]} <= {
                    each["worker"] for each in found if "worker" in each
                }


async def test_pages_have_the_visible_tasks_only(world: World) -> None:
    """In each order, forwards, backwards and from the cursor of a foreign task, no page reveals a task of others."""
    for order in ORDERS:
        document = PAGES % order
        everything = (await world.acting_as("admin").data(document, first=50))["tasks"]["edges"]
        for name in VIEWERS:
            front, ids = world.acting_as(name), world.ids(name)
            own = [edge["node"]["id"] for edge in everything if edge["node"]["id"] in ids]
            assert await _walk(front, document, "first", len(own)) == own
            assert await _walk(front, document, "last", len(own)) == own
            number, foreign = next((n, each) for n, each in enumerate(everything) if each["node"]["id"] not in ids)
            later = [each["node"]["id"] for each in everything[number:] if each["node"]["id"] in ids]
            page = (await front.data(document, first=2, after=foreign["cursor"]))["tasks"]
            assert [edge["node"]["id"] for edge in page["edges"]] == later[:2]


async def _walk(front: Front, document: str, size: str, count: int) -> list[str]:
    """Read all pages of a list of some tasks in a direction, and return the ids in the order of the list."""
    start, cursor, more = ("after", "endCursor", "hasNextPage")
    if size == "last":
        start, cursor, more = ("before", "startCursor", "hasPreviousPage")
    pages: list[list[str]] = []
    position = None
    while True:
        page = (await front.data(document, **{size: 3, start: position}))["tasks"]
        assert page["totalCount"] == count
        pages.append([edge["node"]["id"] for edge in page["edges"]])
        position = page["pageInfo"][cursor]
        if not page["pageInfo"][more]:
            break
    assert len(pages) == max(1, (count + 2) // 3)
    return [id_ for each in (pages if size == "first" else pages[::-1]) for id_ in each]


async def test_what_has_no_owner_tells_nothing_of_tasks(world: World) -> None:
    """Task definitions, queues and workers have no id and no value of a task."""
    for name in VIEWERS:
        world.check_no_leak(name, await world.acting_as(name).data(OF_NO_TASK))
