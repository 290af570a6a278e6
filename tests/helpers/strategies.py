"""Hypothesis strategies for JSON values and filters, with many values that databases and drivers treat specially."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from gql_api.query.filter import MetadataCondition, Operator, TaskFilter, TimeRange
from gql_api.record.fields import Status

_ANY_TEXT = st.text(st.characters(exclude_categories=[]))
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.sampled_from(
    ["", "$ref", "$id", "a.b", "%2E", "%", "%json", "_id", "$where", "..", "%25"]
)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _ANY_TEXT
JSON_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
OBJECTS = st.dictionaries(KEYS, JSON_VALUES, max_size=4)

# Few keys and values, so that filters find tasks, and at least one of every kind with a comparison of its own.
_FEW_KEYS = st.sampled_from(["a", "b", "0", "1", "01", "", "a.b", "$k", "%", "é"])
_FEW_SCALARS = st.sampled_from(
    [
        *(None, True, False, 0, 1, 1.0, -1, 2, 1.5, 2**53, float(2**53), 2**53 + 1, 2**63 - 1, -0.0),
        *("", "a", "ab", "a.b", "A", "é", "e\u0301", "\uffff", "\U00010000", "1", "a\0b", "a\nb", "$a", "^a|b", "\\"),
    ]
)
# What MongoDB's own comparisons order otherwise.
_SPECIAL_SCALARS = st.sampled_from([None, True, False])
_FEW_VALUES = st.recursive(
    _FEW_SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_FEW_KEYS, inner, max_size=3),
    max_leaves=8,
)
METADATA = st.one_of(
    *[st.fixed_dictionaries({"a": _FEW_VALUES}, optional={"b": _FEW_VALUES})] * 4,
    *[st.dictionaries(_FEW_KEYS, _FEW_VALUES, max_size=4)] * 3,
    st.fixed_dictionaries({"a": _SPECIAL_SCALARS}),
    OBJECTS,
)

TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 0, 0, 5000), timezones=st.just(UTC))  # noqa: DTZ001 - the argument's
PLACES = st.sampled_from(["a", "b", "c"])


def _path(keys: list[str]) -> str:
    return ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in keys)


_USUAL_PATHS = st.sampled_from(["a", "a.a", "a.0"])
PATHS = _USUAL_PATHS | st.lists(_FEW_KEYS, min_size=1, max_size=3).map(_path)
_COMPARED = {
    **dict.fromkeys(Operator, _FEW_SCALARS),
    Operator.IN: st.lists(_FEW_SCALARS, max_size=3) | st.none(),
    Operator.STARTS_WITH: st.none()
    | st.sampled_from(["", "a", "a.", "é", "e", "\U00010000", "a\0", "a\n", "$", "^a|b", "\\"]),
    Operator.EXISTS: st.sampled_from([True, False, None]),
}
_OPERANDS = st.one_of(
    *(st.fixed_dictionaries({operator: compared}) for operator, compared in _COMPARED.items()),
    st.fixed_dictionaries({}, optional=_COMPARED),
)
_CONDITIONS = st.builds(MetadataCondition, PATHS, _OPERANDS)


def asking(operator: Operator) -> st.SearchStrategy[TaskFilter]:
    """Return a strategy for filters of one condition with one operator, in which what is special is frequent."""
    compared = _COMPARED[operator]
    if compared is _FEW_SCALARS:
        compared = _SPECIAL_SCALARS | compared
    operands = st.fixed_dictionaries({operator: compared})
    return st.builds(TaskFilter, metadata=st.tuples(st.builds(MetadataCondition, _USUAL_PATHS, operands)))


_RANGES = st.builds(TimeRange, st.none() | TIMES, st.none() | TIMES)


def _some(members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy that is None most of the time."""
    return st.one_of(st.none(), st.none(), st.none(), members)


def _filters(inner: st.SearchStrategy[TaskFilter]) -> st.SearchStrategy[TaskFilter]:
    return st.builds(
        TaskFilter,
        ids=_some(st.lists(PLACES, max_size=2)),
        names=_some(st.lists(PLACES, max_size=2)),
        statuses=_some(st.lists(st.sampled_from(Status), max_size=3)),
        queues=_some(st.lists(PLACES, max_size=2)),
        error_types=_some(st.lists(PLACES, max_size=2)),
        metadata=st.lists(_CONDITIONS, max_size=2),
        created_at=_some(_RANGES),
        finished_at=_some(_RANGES),
        updated_at=_some(_RANGES),
        parent_id=_some(PLACES),
        is_replayed=_some(st.booleans()),
        all_of=st.lists(inner, max_size=2),
        any_of=_some(st.lists(inner, max_size=2)),
        none_of=_some(inner),
    )


_CONDITION_ONLY = st.builds(TaskFilter, metadata=st.lists(_CONDITIONS, min_size=1, max_size=1))
FILTERS = st.recursive(_CONDITION_ONLY, _filters, max_leaves=4)
