"""The index of live lists, compared with lists that are compared with every change."""

from __future__ import annotations

from typing import Any

import pytest
from changing_tasks import Step, World, deliver, taken_at_once
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FILTERS, METADATA, PLACES
from task_life import BEGAN, Clock, TaskLife

from gql_api.access.visibility import EVERYTHING, Visibility, visibility_of
from gql_api.api.pubsub.list_filter import ListFilter
from gql_api.api.pubsub.list_index import ListIndex
from gql_api.api.pubsub.list_mailbox import ListMailbox
from gql_api.api.pubsub.list_watchers import ListWatchers
from gql_api.query.equalities import required
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
from gql_api.record import fields as f
from gql_api.record.fields import Status

_UNTIMED = settings(deadline=None)
_OWNERS = st.sampled_from([None, "alice", "bob"])


def _equal_to(path: str, value: object) -> TaskFilter:
    return TaskFilter(metadata=[MetadataCondition(path, {Operator.EQ: value})])


_VISIBILITIES = st.sampled_from(
    [
        *[EVERYTHING, EVERYTHING, visibility_of("alice", None), visibility_of(None, None)],
        *[visibility_of("bob", None).and_also(_equal_to("a", 1)), Visibility(_equal_to("b", "a"))],
    ]
)
# What brings filters and tasks together: few values, and those that are special in Python or in MongoDB.
_SIMPLE = st.builds(_equal_to, st.sampled_from(["a", "b", "a.b", "a.0"]), st.sampled_from([1, 1.0, True, None, "a", 0]))
_NARROW = st.builds(
    TaskFilter,
    names=st.none() | st.lists(PLACES, max_size=2),
    queues=st.none() | st.lists(PLACES, max_size=2),
    error_types=st.none() | st.lists(PLACES, max_size=2),
    statuses=st.none() | st.lists(st.sampled_from(Status), max_size=3),
    all_of=st.lists(_SIMPLE, max_size=2),
    any_of=st.none() | st.lists(_SIMPLE, max_size=2),
)
_ALL_FILTERS = _SIMPLE | _NARROW | FILTERS
_FEW_METADATA = st.fixed_dictionaries(
    {"a": st.sampled_from([1, 1.0, True, False, None, "a", [1, "a"], {"b": 1}, [{"b": "a"}], [[1]], 0, -0.0])},
    optional={"b": st.sampled_from([1, "a", None, ["a"], "x" * 40_000])},
)
_ALL_METADATA = _FEW_METADATA | METADATA


_STEPS = st.builds(
    Step,
    st.integers(0, 1),
    st.sampled_from(
        ["create", "create", "start", "requeue", "end", "fail", "progress", "replace", "replace old", "delete"]
    ),
    _ALL_METADATA,
    PLACES,
    st.sampled_from([False, False, True]),
)


class _Unindexed(ListIndex[ListFilter]):
    """An index that finds all lists for every change."""

    def candidates(self, *_: object) -> set[ListFilter]:
        """Return all lists."""
        return {*self._without_equality, *self._equalities}


def _can_match(filter_: TaskFilter) -> bool:
    """Return whether no list of values in a filter is empty: the index never finds a list of such a one."""
    return all(any(equality.values()) for equality in required(filter_))


def _watchers(filters: list[tuple[Visibility, TaskFilter]], index: ListIndex[ListFilter]) -> ListWatchers:
    watchers = ListWatchers()
    watchers._index = index  # noqa: SLF001 - the one to be compared
    watchers.listening_since = BEGAN
    for visibility, filter_ in filters:
        watchers.add(ListMailbox(ListFilter(visibility, filter_)))
    return watchers


def _received(watchers: ListWatchers) -> set[tuple[object, ...]]:
    return {
        (filter_, getattr(change.latest, "version", None), change.matches, change.is_known, change.may_have_matched)
        for filter_, mailboxes in watchers._mailboxes.items()  # noqa: SLF001 - all of them
        for mailbox in mailboxes
        for change in taken_at_once(mailbox)
    }


@_UNTIMED
@given(
    st.lists(st.tuples(_VISIBILITIES, _ALL_FILTERS), min_size=1, max_size=6),
    st.lists(st.tuples(_STEPS, _OWNERS), min_size=3, max_size=12),
)
def test_the_index_leaves_out_no_list_that_a_change_concerns(
    filters: list[tuple[Visibility, TaskFilter]], steps: list[tuple[Step, str | None]]
) -> None:
    """Through any changes, missed events and deletions, lists receive the same as without the index."""
    filters = [each for each in filters if _can_match(each[1])]
    indexed, unindexed = _watchers(filters, ListIndex()), _watchers(filters, _Unindexed())
    world = World()
    for step, owner in steps:
        event = world.take(step, owner)
        if event is None or step.is_missed:
            continue
        for watchers in (indexed, unindexed):
            deliver(watchers, event, world)
        assert _received(indexed) == _received(unindexed)
    assert indexed.received._holders == unindexed.received._holders  # noqa: SLF001 - the lists that have the tasks


_A, _B = _equal_to("a", 1), _equal_to("b", "x")
_RANGE = TaskFilter(metadata=[MetadataCondition("n", {Operator.GT: 1})])
_IN = TaskFilter(metadata=[MetadataCondition("a", {Operator.IN: [1, "1", None]})])


@pytest.mark.parametrize(
    ("filter_", "keys"),
    [
        (_A, [{"a": {1}}]),
        (_IN, [{"a": {1, "1", None}}]),
        (_equal_to("a", True), [{"a": {(True,)}}]),
        (TaskFilter(all_of=[_A, _RANGE, TaskFilter(all_of=[_B])]), [{"a": {1}}, {"b": {"x"}}]),
        (TaskFilter(any_of=[_A, TaskFilter(all_of=[_RANGE, _B])]), [{"a": {1}, "b": {"x"}}]),
        (TaskFilter(any_of=[_A, _IN]), [{"a": {1, "1", None}}]),
        (TaskFilter(any_of=[_A, _RANGE]), []),
        (TaskFilter(any_of=[_A, TaskFilter()]), []),
        (TaskFilter(any_of=[]), [{}]),
        (TaskFilter(none_of=_A), []),
        (TaskFilter(none_of=TaskFilter(none_of=_A)), []),
        (TaskFilter(metadata=[MetadataCondition("a", {Operator.NE: 1})]), []),
        (TaskFilter(owners=["u", None], any_of=[_A]), [{"owner": {"u", None}}, {"a": {1}}]),
        (TaskFilter(names=[]), [{"name": set()}]),
    ],
)
def test_a_filter_requires_what_all_of_its_branches_require(
    filter_: TaskFilter, keys: list[dict[str, set[object]]]
) -> None:
    """A branch without an equality requires none, and what is negated requires nothing."""
    found = [
        {(subject.keys or (subject.name,))[0]: {*values} for subject, values in each.items()}
        for each in required(filter_)
    ]
    assert found == keys


@_UNTIMED
@given(_ALL_FILTERS, _ALL_METADATA)
def test_a_task_that_matches_meets_every_equality(filter_: TaskFilter, metadata: dict[str, Any]) -> None:
    """Values that a filter takes for equal have the same key."""
    record = TaskLife("a", Clock(), metadata, **{f.NAME: "b"}).stored()
    if ListFilter(EVERYTHING, filter_).matches(record):
        for equality in required(filter_):
            assert any(not keys.isdisjoint(subject.keys_in(record)) for subject, keys in equality.items())


@_UNTIMED
@given(st.lists(st.tuples(_VISIBILITIES, _ALL_FILTERS), min_size=1, max_size=6), st.booleans())
def test_nothing_is_left_of_lists_that_nobody_watches(
    filters: list[tuple[Visibility, TaskFilter]], some_stay: bool
) -> None:
    """The index is empty when the last watcher has left, and as if they had never been when others stay."""
    stay, leave = filters if some_stay else [], filters[::-1]
    index: ListIndex[ListFilter] = ListIndex()
    expected: ListIndex[ListFilter] = ListIndex()
    watchers, _ = _watchers(stay, index), _watchers(stay, expected)
    for mailbox in [ListMailbox(ListFilter(*each)) for each in leave * 2]:
        watchers.add(mailbox)
        watchers.put(TaskLife("t", Clock(), {"a": 1}).event())
        watchers.remove(mailbox)
    assert len(watchers) == len(stay)
    assert vars(index) == vars(expected)
    assert some_stay or not any(vars(index).values())
