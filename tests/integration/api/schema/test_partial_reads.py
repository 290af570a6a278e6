"""Answers read the fields that they need, and no more bytes than they may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from front import Commands, Front
from graphql import GraphQLObjectType, get_named_type, is_leaf_type
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from pymongo.collection import Collection

from gql_api.api.schema import tasks as schema_of_tasks
from gql_api.api.schema.build import schema
from gql_api.record import fields
from gql_api.record.model import NewTask
from gql_api.record.queries import WHOLE
from gql_api.record.reads import Document

_LARGE = {fields.ARGS, fields.KWARGS, fields.METADATA, fields.RESULT, fields.ERROR, fields.PROGRESS, fields.HISTORY}
_PRIVATE = {*fields.PRIVATE, fields.CUSTOM_STATE, fields.CHILDREN}


def _projections(commands: Commands) -> Iterator[dict[str, int] | None]:
    """Yield the projection of each read of tasks."""
    for command in commands.sent:
        if "find" in command:
            yield command.get("projection")
        if "aggregate" in command:
            for lookup in [stage["$lookup"] for stage in command["pipeline"] if "$lookup" in stage]:
                yield next((stage["$project"] for stage in lookup["pipeline"] if "$project" in stage), None)


async def _family(front: Front, count: int, size: int = 10) -> None:
    """Create tasks that each have a parent, a child and one that they repeat, all with large arguments."""
    made = []
    for number in range(count):
        content: dict[str, Any] = {"kwargs": {"x": "x" * size}, "metadata": {"n": number}}
        made += [NewTask(id=f"{kind}{number}", name=kind, **content) for kind in ("parent", "first")]
        made.append(
            NewTask(id=f"m{number}", name="m", parent_id=f"parent{number}", replay_of=f"first{number}", **content)
        )
        made.append(NewTask(id=f"child{number}", name="child", parent_id=f"m{number}", **content))
    await front.services.store.create_many(made)


_SMALL_SELECTIONS = [
    "{ tasks { edges { node { id status } } } }",
    "{ tasks { edges { cursor node { isFinal revision createdAt } } nodes { updatedAt } pageInfo { endCursor } } }",
    "{ tasks(orderBy: {field: UPDATED_AT}) { edges { cursor node { id } } } }",
    "{ tasks { nodes { id parent { id status } replayOf { name } children { nodes { id queue } totalCount } } } }",
    '{ task(id: "m0") { children { edges { cursor node { id } } } definition { name } logs { nodes { message } } } }',
    '{ nodes(ids: ["m0", "m1"]) { id ... on Task { name attempts } ...A } } fragment A on Task { worker }',
    '{ node(id: "m0") { id ... on Task { state: status kwargs @include(if: false) ... @skip(if: true) { result } } } }',
]


@pytest.mark.parametrize("document", _SMALL_SELECTIONS)
async def test_what_is_not_selected_is_not_read(commands: Commands, front: Front, document: str) -> None:
    """MongoDB sends no large field that the answer does not have, of a task and of its relatives."""
    await _family(front, 2)
    commands.sent.clear()
    await front.data(document)
    projections = list(_projections(commands))
    assert projections
    for projection in projections:
        assert projection is not None
        assert projection.keys().isdisjoint(_LARGE | _PRIVATE)


async def test_a_condition_decides_what_is_read(commands: Commands, front: Front) -> None:
    """The same document reads the arguments only with the value of its variable that selects them."""
    await _family(front, 1)
    document = (
        "query ($all: Boolean!) { tasks { nodes { id ...More @include(if: $all) } } } fragment More on Task { kwargs }"
    )
    for all_ in (True, False, True):
        commands.sent.clear()
        (node, *_) = (await front.data(document, all=all_))["tasks"]["nodes"]
        (projection,) = _projections(commands)
        assert projection is not None
        assert ("kwargs" in node) is (fields.KWARGS in projection) is all_


_TIMES = [
    fields.SCHEDULED_FOR, fields.EXPIRES_AT, fields.CANCEL_REQUESTED_AT, fields.STARTED_AT, fields.FINISHED_AT,
]  # fmt: skip


@pytest.fixture
async def whole_lives(front: Front, tasks: Collection[Document]) -> Front:
    """The schema over tasks with a value in every field."""
    await _family(front, 3)
    error = {"type": "E", "message": "m", "module": "b", "args": [1], "traceback": "t"}
    progress = {"current": 1.0, "total": 2.0, "message": "m", "data": {"d": 1}}
    tasks.update_many(
        {},
        {
            "$set": {
                fields.RESULT: {"r": 1}, fields.ERROR: error, fields.PROGRESS: progress, fields.WORKER: "w",
            },
            "$currentDate": dict.fromkeys(_TIMES, True),
        },
    )  # fmt: skip
    return front


_TASK = schema._schema.type_map["Task"]  # noqa: SLF001 - Strawberry's own integrations read it
assert isinstance(_TASK, GraphQLObjectType)
_FIELDS = _TASK.fields
_LEAVES = sorted(name for name, field in _FIELDS.items() if is_leaf_type(get_named_type(field.type)))
_PARTS = [
    "error { type message traceback }", "progress { percent data }", "history { status at }", "definition { name }",
    "logs { nodes { message } }", "__typename",
]  # fmt: skip
_PAGES = ["nodes { %s }", "edges { node { %s } }", "edges { cursor node { %s } } pageInfo { startCursor }"]
_CONDITIONS = ["", "@include(if: $sure)", "@skip(if: $sure)", "@skip(if: true)"]


@st.composite
def _selections(draw: DrawFn, depth: int = 2) -> str:
    """Draw a selection set of Task, with repeated fields, aliases, conditions and fragments."""
    parts = draw(st.lists(st.sampled_from([*_LEAVES, *_PARTS]), min_size=1, max_size=5))
    parts = [f"{part} " if " " in part else f"{draw(st.sampled_from(['', 'a' + part + ': ']))}{part}" for part in parts]
    kind = draw(st.sampled_from(["none", "parent", "replayOf", "children", "fragment", "inline"])) if depth else "none"
    inner = draw(_selections(depth - 1)) if kind != "none" else ""
    condition = draw(st.sampled_from(_CONDITIONS))
    if kind in {"parent", "replayOf"}:
        parts.append(f"{kind} {condition} {{ {inner} }}")
    elif kind == "children":
        page = draw(st.sampled_from(_PAGES)) % inner
        parts.append(f"children(first: 2) {condition} {{ {page} }}")
    elif kind == "fragment":
        parts.append(f"...F {condition}")
    elif kind == "inline":
        parts.append(f"... on Task {condition} {{ {inner} }}")
    return " ".join(parts)


@st.composite
def _documents(draw: DrawFn) -> str:
    """Draw a query of pages and single tasks."""
    fragment = draw(_selections(0))
    page = draw(st.sampled_from(_PAGES)) % draw(_selections())
    order = draw(st.sampled_from(["CREATED_AT", "UPDATED_AT", "FINISHED_AT"]))
    return f"""
      query ($sure: Boolean!) {{
        __typename @include(if: $sure)
        tasks(first: 4, orderBy: {{field: {order}}}) {{ {page} }}
        task(id: "m0") {{ {draw(_selections())} ...F }}
        nodes(ids: ["m1", "none", "first0"]) {{ ... on Task {{ {draw(_selections())} }} }}
      }}
      fragment F on Task {{ {fragment} }}
    """


@hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(_documents(), st.booleans())
async def test_partial_reads_give_the_answers_of_whole_reads(whole_lives: Front, document: str, sure: bool) -> None:
    """Whatever an operation selects, its answer is the one that it would have with all fields read."""
    partial = await whole_lives.ask(document, sure=sure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema_of_tasks, "_part", lambda _: WHOLE)
        whole = await whole_lives.ask(document, sure=sure)
    assert (partial.data, partial.errors) == (whole.data, None)


async def test_every_field_of_a_task_has_its_part() -> None:
    """A field without one makes its answers read whole tasks."""
    assert schema_of_tasks._part(frozenset({"unheard of"})) == WHOLE  # noqa: SLF001 - the function under test
    for name in _FIELDS:
        assert schema_of_tasks._part(frozenset({name})) != WHOLE, name  # noqa: SLF001 - as above


_IDS = [f"m{number}" for number in range(12)]
_TOO_LARGE = [
    "{ tasks(first: 24) { nodes { kwargs } } }",
    "{ tasks(first: 8) { nodes { kwargs children { nodes { kwargs } } parent { kwargs } replayOf { kwargs } } } }",
    '{ task(id: "m0") { children { nodes { '
    + "parent { kwargs children(first: 1) { nodes { " * 12
    + "id"
    + " } } } " * 12
    + "} } } }",
    f"{{ nodes(ids: {json.dumps(_IDS)}) {{ ... on Task {{ kwargs }} }} }}",
    "{" + " ".join(f'{task_id}: task(id: "{task_id}") {{ kwargs }}' for task_id in _IDS) + "}",
    "mutation {"
    + " ".join(
        f'{task_id}: updateTaskMetadata(id: "{task_id}", operations: []) {{ task {{ parent {{ kwargs }} }} }}'
        for task_id in _IDS
    )
    + "}",
    "{" + " ".join(f"page{task_id}: tasks(first: 1) {{ nodes {{ kwargs }} }}" for task_id in _IDS) + "}",
]


@pytest.mark.parametrize("document", _TOO_LARGE)
async def test_an_answer_that_is_too_large_is_an_error(narrow: Front, document: str) -> None:
    """The error names the setting, the limit and what was read, however the answer collects its bytes."""
    await _family(narrow, 12, 100_000)
    result = await narrow.ask(document)
    assert result.errors
    for error in result.errors:
        assert error.extensions == {"code": "ANSWER_TOO_LARGE"}
        assert "ANSWER_MAX_BYTES" in error.message
        assert "1,048,576" in error.message


async def test_the_budget_is_for_one_answer(narrow: Front) -> None:
    """Many small answers at once, and the small part of large tasks, are complete beside one that is too large."""
    await _family(narrow, 12, 100_000)
    few = '{ task(id: "m0") { kwargs } }'
    answers = await asyncio.gather(*(narrow.ask(document) for document in [_TOO_LARGE[3], *[few] * 20]))
    assert [bool(answer.errors) for answer in answers] == [True, *[False] * 20]
    assert len((await narrow.data("{ tasks(first: 48) { nodes { id status metadata } } }"))["tasks"]["nodes"]) == 48


async def test_an_answer_pays_only_for_the_fields_that_it_needs(narrow: Front) -> None:
    """Neither another request of the same moment nor another field of the same query makes a task cost more."""
    await _family(narrow, 12, 100_000)
    names = f"{{ nodes(ids: {json.dumps(_IDS)}) {{ ... on Task {{ name }} }} }}"
    answers = await asyncio.gather(
        narrow.ask(names), narrow.ask('{ task(id: "first0") { kwargs } }'), narrow.ask(names)
    )
    assert [answer.errors for answer in answers] == [None] * 3
    large = [f"{task_id}: task(id: {json.dumps(task_id)}) {{ kwargs }}" for task_id in _IDS[:2]]
    both = f"{{ nodes(ids: {json.dumps(_IDS)}) {{ ... on Task {{ name }} }} {' '.join(large)} }}"
    assert len((await narrow.data(both))["nodes"]) == 12


async def test_a_task_counts_as_often_as_the_answer_has_it(narrow: Front) -> None:
    """An answer with many copies of one task is as large as one with as many tasks."""
    await _family(narrow, 1, 100_000)
    copies = " ".join(f'copy{number}: task(id: "m0") {{ kwargs }}' for number in range(12))
    assert (await narrow.ask(f"{{ {copies} }}")).errors
    names = " ".join(f'copy{number}: task(id: "m0") {{ name }}' for number in range(100))
    assert len(await narrow.data(f"{{ {names} }}")) == 100
