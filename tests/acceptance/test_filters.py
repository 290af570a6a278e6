"""Filters over HTTP: what each condition means, and what is refused, on a real API."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import plain_http
import pytest
from support import Api

FIND = "query ($filter: TaskFilter) { tasks(first: 500, filter: $filter) { nodes { id } totalCount } }"
_METADATA: dict[str, dict[str, Any]] = {
    "gold": {"customer": {"tier": "gold", "age": 40}, "tags": ["a", "b"], "a.b": {"c": 1}, "n": 1, "null": None},
    "silver": {"customer": {"tier": "silver", "age": 41.5}, "tags": ["b"], "n": 1.5, "items": [{"sku": "B-1"}]},
    "odd": {"customer": "gold", "tags": [], "n": "1", "a": {"b": {"c": 1}}, "back\\slash": True, "$where": "1"},
    "none": {},
}


@pytest.fixture(scope="module")
def made(api: Api) -> dict[str, str]:
    """Tasks with the metadata above, in a queue with no other, by their names there."""
    mark = uuid.uuid4().hex
    return {
        name: api.create(
            "task_modules.add", args=[1], metadata={"mark": mark, "name": name, **metadata}, delaySeconds=3600
        )
        for name, metadata in _METADATA.items()
    }


def _found(api: Api, made: dict[str, str], filter_: dict[str, Any]) -> set[str]:
    """The names of the tasks of this module that a filter finds."""
    data = api.data(FIND, filter={"AND": [{"ids": sorted(made.values())}, filter_]})["tasks"]
    names = {task_id: name for name, task_id in made.items()}
    assert data["totalCount"] == len(data["nodes"])
    return {names[node["id"]] for node in data["nodes"]}


def _literal(value: Any) -> str:
    """A value as a GraphQL document spells it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value)


def _at(path: str, **asked: Any) -> dict[str, Any]:
    operators = {name.rstrip("_"): value for name, value in asked.items()}
    return {"metadata": [{"path": path, **operators}]}


_CONDITIONS: list[tuple[dict[str, Any], set[str]]] = [
    (_at("customer.tier", eq="gold"), {"gold"}),
    (_at("customer.tier", ne="gold"), {"silver", "odd", "none"}),
    (_at("customer.tier", in_=["gold", "silver", None]), {"gold", "silver"}),
    (_at("null", in_=["x", None]), {"gold"}),
    (_at("null", eq=None), {"gold"}),
    (_at("null", ne=None), {"silver", "odd", "none"}),
    (_at("null", exists=True), {"gold"}),
    (_at("null", exists=False), {"silver", "odd", "none"}),
    (_at("null", exists=None), set()),
    (_at("n", gt=1), {"silver"}),
    (_at("n", gte=1), {"gold", "silver"}),
    (_at("n", lt=1.5), {"gold"}),
    (_at("n", lte="1"), {"odd"}),
    (_at("n", gt=None), set()),
    (_at("n", eq=True), set()),
    (_at("n", gte=1, lt=1.5), {"gold"}),
    (_at("n"), {"gold", "silver", "odd", "none"}),
    (_at("customer.tier", startsWith="go"), {"gold"}),
    (_at("customer.tier", startsWith=".*"), set()),
    (_at("tags", eq="b"), {"gold", "silver"}),
    (_at("tags", ne="b"), {"odd", "none"}),
    (_at("tags.0", eq="b"), {"silver"}),
    (_at("tags", exists=True), {"gold", "silver", "odd"}),
    (_at("items.sku", startsWith="B-"), {"silver"}),
    (_at("items.0.sku", eq="B-1"), {"silver"}),
    (_at(r"a\.b.c", eq=1), {"gold"}),
    (_at("a.b.c", eq=1), {"odd"}),
    (_at(r"back\\slash", eq=True), {"odd"}),
    (_at("$where", eq="1"), {"odd"}),
    ({"metadata": []}, {"gold", "silver", "odd", "none"}),
    ({"AND": []}, {"gold", "silver", "odd", "none"}),
    ({"OR": []}, set()),
    ({"ids": []}, set()),
    ({"statuses": []}, set()),
    ({"statuses": None, "metadata": None, "OR": None}, {"gold", "silver", "odd", "none"}),
    ({"names": ["task_modules.add"], "statuses": ["SCHEDULED"]}, {"gold", "silver", "odd", "none"}),
    ({"names": ["task_modules.ad"]}, set()),
    ({"queues": ["celery"]}, {"gold", "silver", "odd", "none"}),
    ({"parentId": "nobody"}, set()),
    ({"createdAt": {"gte": "2020-01-01T00:00:00+01:00"}}, {"gold", "silver", "odd", "none"}),
    ({"createdAt": {"lt": "2020-01-01T00:00:00Z"}}, set()),
    ({"updatedAt": {"gte": "2020-01-01T00:00:00Z", "lt": None}}, {"gold", "silver", "odd", "none"}),
    ({"finishedAt": {"gte": "2020-01-01T00:00:00Z"}}, set()),
    ({"OR": [_at("n", gt=1), {"NOT": _at("customer", exists=True)}]}, {"silver", "none"}),
    ({"NOT": {"OR": [_at("n", gt=1), {"AND": [_at("tags", eq="a"), _at("n", eq=1)]}]}}, {"odd", "none"}),
    ({**_at("tags", eq="b"), "NOT": _at("n", eq=1.0)}, {"silver"}),
]  # fmt: skip


def _spelled(value: Any) -> str:
    """A filter as a document has it: the statuses are names, not strings."""
    return re.sub(r'"(SCHEDULED)"', r"\1", _literal(value))


def test_conditions_mean_the_same_as_variables_and_as_literals(api: Api, made: dict[str, str]) -> None:
    """Each condition finds what docs/filters.md says, whichever way it is sent."""
    ids = _literal(sorted(made.values()))
    for filter_, expected in _CONDITIONS:
        assert _found(api, made, filter_) == expected, filter_
    asked = [
        f"q{number}: tasks(filter: {{AND: [{{ids: {ids}}}, {_spelled(filter_)}]}}) {{ nodes {{ id }} }}"
        for number, (filter_, _) in enumerate(_CONDITIONS)
    ]
    answers: dict[str, Any] = {}
    for begin in range(0, len(asked), 20):  # the cost of a request is limited
        answers |= api.data(f"{{ {' '.join(asked[begin : begin + 20])} }}")
    for number, (filter_, expected) in enumerate(_CONDITIONS):
        assert {node["id"] for node in answers[f"q{number}"]["nodes"]} == {made[name] for name in expected}, filter_


def test_null_and_left_out_are_two_things(api: Api, made: dict[str, str]) -> None:
    """An operator whose variable is null compares with null; one whose variable is left out is no condition."""
    query = """query ($ids: [ID!], $value: JSON, $any: [JSON]) {
      eq: tasks(filter: {ids: $ids, metadata: [{path: "null", eq: $value}]}) { totalCount }
      in: tasks(filter: {ids: $ids, metadata: [{path: "null", in: $any}]}) { totalCount }
      one: tasks(filter: {ids: $ids, metadata: [{path: "null", in: [$value]}]}) { totalCount }
    }"""
    ids = sorted(made.values())
    assert {alias: found["totalCount"] for alias, found in api.data(query, ids=ids, value=None, any=None).items()} == {
        "eq": 1, "in": 0, "one": 1,
    }  # fmt: skip
    left_out = api.data(query, ids=ids)
    assert (left_out["eq"]["totalCount"], left_out["in"]["totalCount"]) == (4, 4)


def _nested(levels: int, inner: Any = None) -> Any:
    filter_ = inner or {}
    for _ in range(levels):
        filter_ = {"NOT": filter_}
    return filter_


_SINGLE = "takes a single value, not"


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        (_at("a", eq={"$ne": None}), f"filter.metadata.0.eq: {_SINGLE} an object"),
        (_at("a", ne=[1]), f"filter.metadata.0.ne: {_SINGLE} an array"),
        (_at("a", in_=[1, {"$gt": 0}]), f"filter.metadata.0.in: {_SINGLE} an object"),
        ({"OR": [{}, {"AND": [_at("a", gt={"$gt": ""})]}]}, f"filter.OR.1.AND.0.metadata.0.gt: {_SINGLE} an object"),
        ({"NOT": _at("a", lte=2**64)}, "filter.NOT.metadata.0.lte: is an integer beyond 64 bits"),
        (_at("a", eq="\ud800"), "filter.metadata.0.eq: contains a lone surrogate"),
        (_at("a\ud800", eq=1), "filter.metadata.0.path: contains a lone surrogate"),
        (_at("a\0", eq=1), "filter.metadata.0.path: contains a NUL character"),
        (_at("a\\b", eq=1, ne=2), "filter.metadata.0.path: a backslash must precede a dot or a backslash"),
        (_at("a\\b"), "filter.metadata.0.path: a backslash must precede a dot or a backslash"),
        (_at(".".join("a" * 65), eq=1), "filter.metadata.0.path: at most 64 keys allowed, got 65"),
        (_at("a", eq="x" * 4097), "filter.metadata.0.eq: at most 4096 characters allowed, got 4097"),
        ({"ids": ["\udfff"]}, "filter.ids: contains a lone surrogate"),
        ({"parentId": "x" * 4097}, "filter.parentId: at most 4096 characters allowed, got 4097"),
        (_nested(9), "filter.NOT.NOT.NOT.NOT.NOT.NOT.NOT.NOT.NOT: is nested more than 8 levels deep"),
        ({"OR": [{}] * 100}, "filter: at most 100 conditions allowed, got 101"),
        ({"metadata": [{"path": "a"}] * 101}, "filter: at most 100 conditions allowed, got 102"),
        ({"ids": ["x"] * 1001}, "filter: at most 1000 values allowed, got 1001"),
        ({"ids": ["x" * 4096] * 65}, "filter: at most 262144 bytes allowed, got 266240"),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_a_filter_that_cannot_be_is_a_clear_error(api: Api, filter_: dict[str, Any], message: str) -> None:
    """The error names the path to what is wrong with a filter, and MongoDB is not queried."""
    error = api.refusal(FIND, filter=filter_)
    assert error["message"].startswith(message), error["message"][:200]
    assert error["path"] == ["tasks"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    # Once for a path, however many operators it has.
    assert error["message"].count("filter") == 1


def test_a_number_that_json_cannot_spell_is_refused(api: Api) -> None:
    """NaN is not JSON, and a literal too large for a float is refused."""
    body = json.dumps({"query": FIND, "variables": {"filter": _at("a", eq=float("nan"))}})
    assert plain_http.post(api.graphql, content=body, headers={"Content-Type": "application/json"}).status_code == 400
    error = api.refusal('{ tasks(filter: {metadata: [{path: "a", eq: 1e999}]}) { totalCount } }')
    assert error["message"].startswith("filter.metadata.0.eq: is not a finite number")


@pytest.mark.parametrize("levels", [100, 150, 200, 300, 500, 1000, 2000])
def test_however_deep_a_filter_is_the_answer_is_an_error_in_words(api: Api, levels: int) -> None:
    """Deeper than Python can recurse, in variables, in the document or in a value: it is the request's own fault."""
    document = "{ tasks(filter: " + "{NOT: " * levels + "{}" + "}" * levels + ") { totalCount } }"
    value = "[" * levels + "]" * levels
    spelled = f'{{ tasks(filter: {{metadata: [{{path: "a", eq: {value}}}]}}) {{ totalCount }} }}'
    variables = '{"filter": ' + '{"NOT": ' * levels + "{}" + "}" * levels + "}"
    in_variables = f'{{"filter": {{"metadata": [{{"path": "a", "eq": {value}}}]}}}}'
    for query, given in ((document, "{}"), (spelled, "{}"), (FIND, variables), (FIND, in_variables)):
        body = f'{{"query": {json.dumps(query)}, "variables": {given}}}'
        answer = plain_http.post(api.graphql, content=body, headers={"Content-Type": "application/json"}, timeout=30)
        assert answer.status_code in {200, 400}
        errors = answer.json()["errors"]
        assert errors
        assert "Internal error" not in errors[0]["message"]


@pytest.mark.parametrize(
    "filter_",
    [
        _at("$where", eq="sleep(1000) || true"), _at("customer.$ne", eq=None), _at("customer.$gt", exists=True),
        _at("$or", exists=True), _at("$expr", eq=True), _at("customer", eq="{'$ne': null}"), _at("%json", exists=True),
        _at("_id", exists=True), _at("$$ROOT", exists=True), _at("", exists=True), _at(".", exists=True),
        _at("customer.tier", startsWith="g.*"), _at("customer.tier", startsWith="^gold|"), _at("$**", exists=True),
        {"names": ["$task_modules.add"]}, {"ids": ['{"$ne": null}']}, {"parentId": "$id"},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_what_looks_like_mongodb_finds_nothing(api: Api, made: dict[str, str], filter_: dict[str, Any]) -> None:
    """Operators, variables and patterns of MongoDB in a path or a value are only text."""
    assert _found(api, made, filter_) == set()


def test_a_value_is_never_in_the_place_of_an_operator(api: Api) -> None:
    """An object in place of a text is refused by its type."""
    for filter_ in ({"ids": [{"$ne": None}]}, {"names": {"$ne": None}}, {"parentId": {"$exists": False}}):
        assert "$filter" in api.refusal(FIND, filter=filter_)["message"]
    error = api.refusal(FIND, filter=_at("a", startsWith={"$regex": ".*"}))
    assert "String cannot represent" in error["message"]


def test_the_longest_texts_are_no_error(api: Api, made: dict[str, str]) -> None:
    """The limits are ones that MongoDB's patterns, paths and queries have room for."""
    for text in ("\0" * 4096, "\U00010000" * 4096, "." * 4096, "\\" * 4096):
        assert _found(api, made, _at("customer.tier", startsWith=text, eq=text)) == set()
    assert _found(api, made, _at(".".join("0" * 64), eq=1, exists=True)) == set()
    assert _found(api, made, _at("n", in_=[*range(1, 900), None])) == {"gold"}
    assert _found(api, made, _nested(6, {"OR": [_at("n", eq=number) for number in range(1, 30)]})) == {"gold"}
