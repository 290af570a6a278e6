"""Hypothesis strategies for JSON values and filters, with many values that databases and drivers treat specially."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

from gql_api.query.filter import MetadataCondition, Operator, TaskFilter, TimeRange
from gql_api.record.fields import Status

T = TypeVar("T")

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
_FEW_KEY_TEXTS = ["a", "b", "0", "1", "01", "", "a.b", "$k", "%", "é"]
_FEW: list[Any] = [
    *(None, True, False, 0, 1, 1.0, -1, 2, 1.5, 2**53, float(2**53), 2**53 + 1, 2**63 - 1, -0.0),
    *("", "a", "ab", "a.b", "A", "é", "e\u0301", "\uffff", "\U00010000", "1", "a\0b", "a\nb", "$a", "^a|b", "\\"),
]
_FEW_KEYS = st.sampled_from(_FEW_KEY_TEXTS)
_FEW_SCALARS = st.sampled_from(_FEW)
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

_MICROSECOND = timedelta(microseconds=1)
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = st.integers(0, 5000).map(lambda number: _FIRST + number * _MICROSECOND)
_PLACES = ["a", "b", "c"]
PLACES = st.sampled_from(_PLACES)


def _path(keys: list[str]) -> str:
    return ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in keys)


_USUAL = ["a", "a.a", "a.0"]
_USUAL_PATHS = st.sampled_from(_USUAL)
PATHS = _USUAL_PATHS | st.lists(_FEW_KEYS, min_size=1, max_size=3).map(_path)
_BEGINNINGS = ["", "a", "a.", "é", "e", "\U00010000", "a\0", "a\n", "$", "^a|b", "\\"]
# Their seed is Hypothesis' choice, what is drawn from them is not.
_CHANCES = st.randoms(use_true_random=True)
# How often a filter has one condition only, a part of a filter is given, and a condition has several operators.
_PLAIN_CHANCE, _SOME_CHANCE, _SEVERAL_CHANCE, _HALF = 0.6, 0.25, 0.1, 0.5


def asking(operator: Operator) -> st.SearchStrategy[TaskFilter]:
    """Return a strategy for filters of one condition with one operator, in which what is special is frequent."""
    compared = _CHANCES.map(lambda chance: _compared(chance, operator))
    if operator not in {Operator.IN, Operator.STARTS_WITH, Operator.EXISTS}:
        compared = _SPECIAL_SCALARS | compared
    operands = st.fixed_dictionaries({operator: compared})
    return st.builds(TaskFilter, metadata=st.tuples(st.builds(MetadataCondition, _USUAL_PATHS, operands)))


def filter_of(chance: Random, leaves: int = 8) -> TaskFilter:
    """Return a random filter with conditions of every kind, which other filters are combined from.

    Hypothesis takes a hundred times as long for one.
    """
    if leaves < 2 or chance.random() < _PLAIN_CHANCE:
        return TaskFilter(metadata=[_condition(chance)])

    def some(make: Callable[[], T]) -> T | None:
        return make() if chance.random() < _SOME_CHANCE else None

    def places() -> list[str]:
        return chance.choices(_PLACES, k=chance.randint(0, 2))

    def time_range() -> TimeRange:
        return TimeRange(*(chance.choice([None, _FIRST + chance.randint(0, 5000) * _MICROSECOND]) for _ in range(2)))

    def filters() -> list[TaskFilter]:
        return [filter_of(chance, leaves // 2) for _ in range(chance.randint(0, 2))]

    return TaskFilter(
        ids=some(places),
        names=some(places),
        statuses=some(lambda: chance.choices([*Status], k=chance.randint(0, 3))),
        queues=some(places),
        error_types=some(places),
        metadata=[_condition(chance) for _ in range(chance.randint(0, 2))],
        created_at=some(time_range),
        finished_at=some(time_range),
        updated_at=some(time_range),
        parent_id=some(lambda: chance.choice(_PLACES)),
        is_replayed=some(lambda: chance.random() < _HALF),
        all_of=filters(),
        any_of=some(filters),
        none_of=some(lambda: filter_of(chance, leaves // 2)),
    )


def _condition(chance: Random) -> MetadataCondition:
    operators = [chance.choice([*Operator])]
    if chance.random() < _SEVERAL_CHANCE:
        operators = [each for each in Operator if chance.random() < _HALF]
    keys = chance.choices(_FEW_KEY_TEXTS, k=chance.randint(1, 3))
    path = chance.choice(_USUAL) if chance.random() < _HALF else _path(keys)
    return MetadataCondition(path, {each: _compared(chance, each) for each in operators})


def _compared(chance: Random, operator: Operator) -> Any:
    match operator:
        case Operator.IN:
            return chance.choice([None, chance.choices(_FEW, k=chance.randint(0, 3))])
        case Operator.STARTS_WITH:
            return chance.choice([None, chance.choice(_BEGINNINGS)])
        case Operator.EXISTS:
            return chance.choice([True, False, None])
        case _:
            return chance.choice(_FEW)


FILTERS = _CHANCES.map(filter_of)
