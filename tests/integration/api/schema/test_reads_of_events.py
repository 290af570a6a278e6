"""What the events of subscriptions read for their nested fields."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from front import Commands, Front

from gql_api.access.principal import ANONYMOUS
from gql_api.api.context import Context
from gql_api.api.execution.operation import Operation
from gql_api.record.model import NewTask

_CHILDREN = "children(first: 100) { nodes { %s children { nodes { %s } } } }"
_SHARED = 'subscription { taskUpdated(id: "top") { %s } }'
_PERSONAL = 'subscription { taskChanges(since: "2020-01-01T00:00:00Z", filter: {names: ["top"]}) { kind task { %s } } }'


async def _family(front: Front, size: int) -> None:
    content: dict[str, Any] = {"kwargs": {"x": "x" * size}}
    made = [NewTask(id="top", name="top")]
    for number in range(30):
        made.append(NewTask(id=f"c{number}", name="child", parent_id="top", **content))
        made.append(NewTask(id=f"g{number}", name="grandchild", parent_id=f"c{number}", **content))
    await front.services.store.create_many(made)


async def _event_of_top(front: Front, document: str) -> dict[str, Any]:
    """Return the first event that has the task."""
    stream = front.services.executions.subscribe(Operation(document), Context(front.services, ANONYMOUS), ANONYMOUS)
    async with contextlib.aclosing(stream):
        async for payload in stream:
            event: dict[str, Any] = json.loads(payload)
            if "LEFT" not in str(event):
                return event
    raise AssertionError("the subscription has ended")


@pytest.mark.parametrize("document", [_SHARED, _PERSONAL])
async def test_children_of_an_event_come_together(commands: Commands, front: Front, document: str) -> None:
    """However many parents an event has, one query reads their children, as in the answer to a query."""
    await _family(front, 1)
    commands.sent.clear()
    event = await _event_of_top(front, document % (_CHILDREN % ("id", "id")))
    assert str(event).count("'g") == 30
    assert commands.counts()["aggregate"] == 2


@pytest.mark.parametrize("document", [_SHARED, _PERSONAL])
async def test_an_event_that_is_too_large_is_an_error(narrow: Front, document: str) -> None:
    """All reads for one event share a budget: no page of this one is above it."""
    await _family(narrow, 20_000)
    event = await _event_of_top(narrow, document % (_CHILDREN % ("kwargs", "kwargs")))
    assert {error["extensions"]["code"] for error in event["errors"]} == {"ANSWER_TOO_LARGE"}
