"""Lists over HTTP: pages, ids and the examples of the docs, on a real API."""

from __future__ import annotations

import base64
import json
import re
import uuid
from typing import Any

import pytest
from support import ROOT, Api

DOCS = (ROOT / "docs" / "filters.md").read_text()
PAGE = """
query ($first: Int, $after: String, $last: Int, $before: String, $filter: TaskFilter, $orderBy: TaskOrder) {
  tasks(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) {
    nodes { id } pageInfo { endCursor }
  }
}
"""


@pytest.fixture(scope="module")
def made(api: Api) -> list[str]:
    """Some tasks that wait."""
    return [api.create("task_modules.add", args=[1], delaySeconds=3600) for _ in range(4)]


def test_nodes_come_in_their_order(api: Api, made: list[str]) -> None:
    """The answer has a task for each id, in their order, and null for an unknown one; a repeated id appears twice."""
    first, second, *_ = made
    asked = [second, "nothing", first, second, "\ud800", ""]
    nodes = api.data("query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", ids=asked)["nodes"]
    assert [node and node["id"] for node in nodes] == [second, None, first, second, None, None]
    error = api.refusal("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=["x"] * 501)
    assert error["message"] == "ids: at most 500 allowed, got 501"


def _cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": 0}, "first: must be from 1 to 500, got 0"),
        ({"first": 501}, "first: must be from 1 to 500, got 501"),
        ({"last": -1}, "last: must be from 1 to 500, got -1"),
        ({"first": 1, "last": 1}, "first and last: only one is allowed, got first 1 and last 1"),
        ({"after": ""}, "after: must be a cursor from a page, got ''"),
        ({"after": "no cursor"}, "after: must be a cursor from a page, got 'no cursor'"),
        ({"before": "\ud800"}, "must be a cursor from a page"),
        ({"after": _cursor("created_at:desc", float("nan"), "x")}, "must be a cursor from a page"),
        ({"after": _cursor("created_at:desc", 2**63, "x")}, "must be a cursor from a page"),
        ({"after": _cursor("created_at:asc", 0, "x")}, "of another list or another order"),
        ({"before": _cursor("updated_at:desc", 0, "x")}, "of another list or another order"),
        ({"before": _cursor("log", 0, "x")}, "of another list or another order"),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_a_page_that_cannot_be_is_a_clear_error(api: Api, arguments: dict[str, Any], message: str) -> None:
    """The error of a bad size or cursor names the argument."""
    error = api.refusal(PAGE, **arguments)
    assert message in error["message"]
    assert error["path"] == ["tasks"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}


def test_a_cursor_is_good_for_its_order_only(api: Api, made: list[str]) -> None:
    """A cursor of one order is refused in another one, and accepted with another filter."""
    ids = {"ids": made}
    cursor = api.data(PAGE, first=1, filter=ids)["tasks"]["pageInfo"]["endCursor"]
    assert len(api.data(PAGE, after=cursor, filter={"AND": [ids]})["tasks"]["nodes"]) == 3
    error = api.refusal(PAGE, after=cursor, orderBy={"field": "UPDATED_AT"})
    assert "another order" in error["message"]


def test_the_examples_of_the_docs_work_as_printed(api: Api) -> None:
    """Each query of docs/filters.md is answered, and its filters find what they say they do."""
    first, variable, facets = re.findall(r"^```graphql\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE)
    (variables,) = re.findall(r"^```json\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE)
    mark = uuid.uuid4().hex
    metadata = {"customer": {"tier": "gold", "id": "c-42"}, "items": [{"sku": "A-1"}, {"sku": "B-2"}], "mark": mark}
    task_id = api.create("task_modules.add", args=[1], metadata={**metadata, "attempts": 3}, delaySeconds=3600)
    assert task_id in [node["id"] for node in api.data(variable, **json.loads(variables))["tasks"]["nodes"]]
    api.data("mutation ($id: ID!) { cancelTask(id: $id) { userErrors { code } } }", id=task_id)
    found = api.data(first)["tasks"]
    assert task_id in [node["id"] for node in found["nodes"]]
    assert found["totalCount"] >= 1
    tiers = {bucket["value"]: bucket["count"] for bucket in api.data(facets)["tasks"]["tiers"]}
    assert tiers["gold"] >= 1
