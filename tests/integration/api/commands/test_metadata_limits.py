"""The limits of metadata are settings, which hold for every way to change it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from front import Front

from gql_api.app import create_app, open_services
from gql_api.record.model import NewTask
from gql_api.registry.definitions import TaskDefinition
from gql_api.settings import Settings

pytestmark = pytest.mark.usefixtures("prepared")


@pytest.fixture
async def tight(settings: Settings, announced: TaskDefinition) -> AsyncIterator[Front]:  # noqa: ARG001 - it can be created
    """An API that allows three levels and four keys."""
    limited = settings.model_copy(update={"metadata_max_depth": 3, "metadata_max_keys": 4})
    app = create_app(limited)
    async with open_services(limited) as services:
        app.state.services = services
        await services.store.create_many([NewTask(id="t", name="add", metadata={"a": {"b": {}}, "c": 1})])
        yield Front(app)


async def _error(front: Front, query: str, **variables: Any) -> str | None:
    (payload,) = (await front.data(query, **variables)).values()
    errors = [f"{error['code']} {error['message']}" for error in payload["userErrors"]]
    return errors[0] if errors else None


_CREATE = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { userErrors { code message } } }"
_UPDATE = """mutation ($ops: [MetadataOperation!]!) {
  updateTaskMetadata(id: "t", operations: $ops) { userErrors { code message } }
}"""


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"a": {"b": {"c": 1}}}, None),
        ({"a": {"b": {"c": {"d": 1}}}}, "nested more than 3 levels"),
        ({"a": 1, "b": {"c": 1, "d": 1}}, None),
        ({"a": 1, "b": {"c": 1, "d": 1, "e": 1}}, "at most 4 keys"),
    ],
)
async def test_new_metadata_has_the_limits_of_the_settings(
    tight: Front, metadata: dict[str, Any], problem: str | None
) -> None:
    """A task with too many levels or keys is refused by the code that clients know."""
    error = await _error(tight, _CREATE, input={"name": "add", "kwargs": {"x": 1}, "metadata": metadata})
    if problem is None:
        assert error is None
    else:
        assert error is not None
        assert error.startswith("METADATA_TOO_LARGE metadata: ")
        assert problem in error


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("a.b", {"x": 1}, None),
        ("a.b", {"x": [1]}, "nested more than 3 levels"),
        ("d", {"e": 1, "f": 1}, "at most 4 keys"),
    ],
)
async def test_changed_metadata_has_the_same_limits(tight: Front, path: str, value: Any, problem: str | None) -> None:
    """The result of the operations counts, not each operation."""
    error = await _error(tight, _UPDATE, ops=[{"op": "SET", "path": path, "value": value}])
    assert (error is None) if problem is None else (problem in (error or ""))
