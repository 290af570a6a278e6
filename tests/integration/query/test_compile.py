from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import strategies
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from gql_api import values
from gql_api.query.anchors import INDEX, anchors
from gql_api.query.compile import OPERATORS, CompiledFilter, compile_filter
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
from gql_api.record import fields as f
from gql_api.record.reads import Document, TaskRecord

_DOCUMENTS, _FILTERS, _EXAMPLES = 12, 20, 20
# In parts, which run in parallel.
_CASES, _PARTS = 10_000, 5


@pytest.fixture
def tasks(tasks: Collection[Document]) -> Collection[Document]:
    """Return the task records of the test, with their usual indexes."""
    tasks.create_indexes(f.INDEXES)
    return tasks


def _document(id_: str, metadata: Any, **others: Any) -> Document:
    return {f.ID: id_, f.REVISION: 1, f.STATUS: "QUEUED", f.METADATA: values.dump(metadata), **others}


_OTHERS = st.fixed_dictionaries(
    {
        f.NAME: strategies.PLACES,
        f.STATUS: st.sampled_from(f.Status),
        f.QUEUE: strategies.PLACES,
        f.CREATED_AT: strategies.TIMES,
        f.UPDATED_AT: strategies.TIMES,
        f.PARENT_ID: st.none() | strategies.PLACES,
    },
    optional={
        f.FINISHED_AT: strategies.TIMES,
        f.REPLAYED: st.just(value=True),
        f.ERROR: st.fixed_dictionaries({f.TYPE: strategies.PLACES, f.MESSAGE: st.just("no")}),
    },
)
_TASKS = st.lists(st.tuples(strategies.METADATA, _OTHERS), min_size=1, max_size=_DOCUMENTS).map(
    lambda made: [_document("abcdefghijkl"[n], metadata, **others) for n, (metadata, others) in enumerate(made)]
)


def _disagreements(tasks: Collection[Document], documents: list[Document], filter_: TaskFilter) -> set[str]:
    """Return the tasks that one form of a filter finds and the other does not, with and without indexes."""
    compiled = compile_filter(filter_)
    in_memory = {document[f.ID] for document in documents if compiled.matches(TaskRecord(document))}
    by_index = {document[f.ID] for document in tasks.find(compiled.query, {f.ID: 1})}
    by_scan = {document[f.ID] for document in tasks.find(compiled.query, {f.ID: 1}).hint([("$natural", 1)])}
    return (in_memory ^ by_index) | (in_memory ^ by_scan) | _differing_by_anchors(tasks, compiled.query, in_memory)


def _differing_by_anchors(tasks: Collection[Document], query: Document, matching: set[str]) -> set[str]:
    """Return the tasks that a query finds otherwise by the index of metadata, if it has anchors for that index."""
    if not anchors(query):
        return set()
    return matching ^ {document[f.ID] for document in tasks.find(query, {f.ID: 1}).hint(INDEX)}


def _stored(tasks: Collection[Document], documents: list[Document]) -> list[Document]:
    tasks.delete_many({})
    tasks.insert_many(documents)
    return list(tasks.find())


def _compare(tasks: Collection[Document], made: st.SearchStrategy[TaskFilter], examples: int) -> int:
    """Compare the readings of random filters over random documents; return how many cases were compared."""
    cases = 0

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],  # each case goes to a server: shrinking would take minutes,
    )
    @given(_TASKS, st.lists(made, min_size=_FILTERS, max_size=_FILTERS))
    def run(documents: list[Document], filters: list[TaskFilter]) -> None:
        nonlocal cases
        stored = _stored(tasks, documents)
        for each in filters:
            differing = _disagreements(tasks, stored, each)
            assert not differing, (each, [document for document in stored if document[f.ID] in differing])
        cases += len(stored) * len(filters)

    run()
    return cases


@pytest.mark.parametrize("part", range(_PARTS))
def test_both_readings_of_a_filter_find_the_same_tasks(tasks: Collection[Document], part: int) -> None:
    """Random filters over random records find the same in MongoDB, by index and by scan, and in memory."""
    cases = 0
    while cases < _CASES / _PARTS:
        cases += _compare(tasks, strategies.FILTERS, _EXAMPLES)
    assert cases < _CASES, part


_RIGHT = dict(OPERATORS)


def _as_mongodb_has_it(asked: Operator) -> Callable[[Any, Any], CompiledFilter]:
    """Return an operator whose query is MongoDB's own, whatever the value."""
    right = _RIGHT[asked]

    def broken(path: Any, operand: Any) -> CompiledFilter:
        query = path.any_value({f"${asked}": operand}, lambda _value: True).query
        return CompiledFilter(query, right(path, operand).matches)

    return broken


def _small_values(depth: int) -> list[Any]:
    scalars: list[Any] = [None, 1, "a"]
    if depth == 0:
        return scalars
    inner = _small_values(depth - 1)
    pairs = [[one, other] for one in inner[:6] for other in inner[:6]]
    return [*scalars, [], {}, *([each] for each in inner), *pairs, *({key: each} for key in "a0" for each in inner)]


_SMALL_VALUES = [
    *_small_values(2),
    *([[each]] for each in _small_values(1)),
    *([{"0": [each]}] for each in _small_values(1)),
]


@pytest.mark.parametrize("path", ["a", "a.0", "a.a", "a.0.0", "a.0.a", "a.a.0", "a.1", "a.0.0.0"])
def test_both_readings_reach_the_same_in_arrays_of_arrays(tasks: Collection[Document], path: str) -> None:
    """Every small nesting of arrays and objects is reached alike, where MongoDB's index and its scan would differ."""
    stored = _stored(tasks, [_document(str(number), {"a": value}) for number, value in enumerate(_SMALL_VALUES)])
    asked = [
        (Operator.EQ, None),
        (Operator.EQ, 1),
        (Operator.EXISTS, True),
        (Operator.GT, 0),
        (Operator.STARTS_WITH, ""),
    ]
    for condition in [MetadataCondition(path, {asked: value}) for asked, value in asked]:
        differing = _disagreements(tasks, stored, TaskFilter(metadata=[condition]))
        assert not differing, (condition, [document for document in stored if document[f.ID] in differing])


# Each operator without the care for missing values, for kinds, or for patterns.
_BROKEN: dict[Operator, Callable[[Any, Any], CompiledFilter]] = {
    Operator.EQ: _as_mongodb_has_it(Operator.EQ),
    Operator.NE: lambda path, operand: path.any_value({"$ne": operand}, lambda value: value != operand),
    Operator.IN: lambda path, operand: path.any_value({"$in": operand or []}, lambda value: value in (operand or [])),
    Operator.GT: _as_mongodb_has_it(Operator.GT),
    Operator.GTE: _as_mongodb_has_it(Operator.GTE),
    Operator.LT: _as_mongodb_has_it(Operator.LT),
    Operator.LTE: _as_mongodb_has_it(Operator.LTE),
    Operator.STARTS_WITH: lambda path, operand: path.any_value(
        {"$regex": f"^{(operand or '').replace(chr(0), '')}"},
        lambda value: isinstance(value, str) and value.startswith(operand or ""),
    ),
    Operator.EXISTS: lambda path, operand: CompiledFilter(
        path.any_value({"$ne": None} if operand else {"$eq": None}, bool).query,
        _RIGHT[Operator.EXISTS](path, operand).matches,
    ),
}


@pytest.mark.parametrize("asked", Operator)
def test_an_operator_that_is_broken_on_purpose_is_found(
    tasks: Collection[Document], monkeypatch: pytest.MonkeyPatch, asked: Operator
) -> None:
    """The comparison above finds each operator that means something else in one of the two forms."""
    monkeypatch.setitem(OPERATORS, asked, _BROKEN[asked])
    with pytest.raises((AssertionError, OperationFailure)):
        _compare(tasks, strategies.asking(asked), 1000)
