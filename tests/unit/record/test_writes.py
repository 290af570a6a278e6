from __future__ import annotations

from typing import Any

import pytest

from gql_api.record import control, writes
from gql_api.record import fields as f
from gql_api.record.fields import FINAL_NAMES
from gql_api.record.fitness import rules
from gql_api.record.model import NewTask
from gql_api.record.writes import Filter, Update

_OPEN = {f.STATUS: {"$nin": FINAL_NAMES}}


def _changed(update: Update) -> dict[str, object]:
    [stage] = update
    changed: dict[str, object] = stage["$set"]
    return changed


def test_a_change_leaves_final_tasks_alone() -> None:
    """The filter of a change excludes the final states, unless it is to change final tasks too."""
    assert writes.change("t", {})[0] == {f.ID: "t", **_OPEN}
    assert writes.change("t", {}, final_too=True)[0] == {f.ID: "t"}


def test_a_fence_replaces_the_condition_on_the_status() -> None:
    """A fence that names states is the only condition on the status."""
    fence: Filter = {f.STATUS: "STARTED", f.ATTEMPTS: 2}
    assert writes.change("t", {}, fence=fence)[0] == {f.ID: "t", **fence}


def test_one_write_can_change_several_tasks_that_match() -> None:
    """Several ids and a caller's filter both hold, also when the filter asks for the status."""
    matching: Filter = {f.STATUS: "QUEUED"}
    filter_, _ = writes.change(("a", "b"), {}, matching=matching)
    assert filter_ == {"$and": [{f.ID: {"$in": ["a", "b"]}, **_OPEN}, matching]}


def test_a_change_ends_the_custom_state_unless_it_keeps_it() -> None:
    """A change removes the custom state, except the changes that callers make beside the run of the task."""
    assert _changed(writes.change("t", {})[1])[f.CUSTOM_STATE] == writes.REMOVE
    assert f.CUSTOM_STATE not in _changed(writes.change("t", {}, keeps_custom_state=True)[1])
    assert f.CUSTOM_STATE not in _changed(control.request_cancel("t", None, force=False)[1])
    assert f.CUSTOM_STATE not in _changed(control.replace_metadata("t", {}, None)[1])


@pytest.mark.parametrize(("given", "stored"), [("x", 0), ("7", 7), (None, 0), (float("nan"), 0), (2**70, 2**31 - 1)])
def test_a_message_of_any_shape_makes_a_record_that_fits(given: Any, stored: int) -> None:
    """A priority that is no number is 0, as kombu takes it, and names and ids become texts."""
    odd: Any = {"name": 5, "queue": ["q"], "root_id": 7, "parent_id": {"a": 1}, "priority": given}
    _, [stage] = writes.create(NewTask(id="t", **odd))
    created = {name: value.get("$literal", value) for name, value in stage["$set"].items() if isinstance(value, dict)}
    assert (
        rules.of(frozenset({f.NAME, f.QUEUE, f.ROOT_ID, f.PARENT_ID, f.PRIORITY})).misfits({f.ID: "t", **created}) == []
    )
    assert created[f.PRIORITY] == stored
