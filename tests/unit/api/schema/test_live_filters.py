"""The filters that live lists refuse."""

from __future__ import annotations

import pytest
import strawberry

from gql_api.access.visibility import EVERYTHING
from gql_api.api.errors import ClientError
from gql_api.api.schema.filters import TaskFilter, compiled_filter, list_filter

_OPEN = TaskFilter(is_replayed=False)


@pytest.mark.parametrize(
    ("filter_", "path"),
    [
        (_OPEN, "filter.isReplayed"),
        (TaskFilter(is_replayed=True), "filter.isReplayed"),
        (TaskFilter(any_of=[TaskFilter(names=["add"]), TaskFilter(none_of=_OPEN)]), "filter.OR.1.NOT.isReplayed"),
    ],
)
def test_no_live_list_depends_on_replays(filter_: TaskFilter, path: str) -> None:
    """A replay changes no task, so that a live list would not be told: the filter is refused, and lists take it."""
    with pytest.raises(ClientError, match=f"^{path}: is not allowed in a live list"):
        list_filter(filter_, EVERYTHING)
    assert compiled_filter(filter_).query


@pytest.mark.parametrize("value", [None, strawberry.UNSET])
def test_null_is_no_condition_on_replays(value: None) -> None:
    """A field that is null counts as left out."""
    assert compiled_filter(TaskFilter(is_replayed=value)).query == {}
    assert list_filter(TaskFilter(is_replayed=value), EVERYTHING).shows_everything
