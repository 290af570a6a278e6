"""Documents that exceed a limit are refused before they are validated, at a small cost; the caches stay small."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest
from graphql import GraphQLError, get_introspection_query

from gql_api.api.errors import LimitExceededError
from gql_api.api.execution.documents import DocumentReader
from gql_api.api.schema.build import schema
from gql_api.limits import LimitSettings

_CORE = schema._schema  # noqa: SLF001 - the schema that operations run on
# The slowest document that is allowed takes as long as six introspection queries.
_MAX_INTROSPECTIONS = 12


def _aliases(count: int, field: str = "__typename") -> str:
    return " ".join(f"a{number}: {field}" for number in range(count))


def _chain(count: int, content: str) -> str:
    """Return fragments that each use the next one, as often as the content does."""
    links = [f"fragment f{n} on Task {{ id {content.format(next=f'...f{n + 1}')} }}" for n in range(count)]
    return " ".join([*links, f"fragment f{count} on Task {{ id }}"])


_TOO_LARGE = [
    ("document bytes", "{ __typename }" + " " * 70_000),
    ("document bytes", '{ task(id: "' + "ä" * 33_000 + '") { id } }'),
    ("tokens", "{" + "id " * 2100 + "}"),
    ("tokens", "#\n" * 30_000 + "{ __typename }"),
    ("aliases", f"{{ {_aliases(101)} }}"),
    ("aliases", f"{{ {_aliases(51)} ... {{ {' '.join(f'b{n}: __typename' for n in range(51))} }} }}"),
    ("fields", "{ task(id: 1) { " + " ".join(f"x{n}" for n in range(501)) + " } }"),
    ("copies of one value", "{ tasks { nodes { " + _aliases(6, "metadata") + " } } }"),
    ("copies of one value", "{ task(id: 1) { a: metadata b: metadata(asText: true) ...A } } fragment A on Task { "
     + _aliases(4, "metadata") + " }"),
    ("copies of one value", "{ tasks { " + _aliases(3, "nodes { x: result y: result }") + " } }"),
    ("copies of one value", "{ tasks { "
     + _aliases(3, "nodes { result }") + _aliases(3, "edges { node { result } }").replace("a", "b") + " } }"),
    ("copies of one value", "subscription { taskUpdated(id: 1) { " + _aliases(6, "result") + " } }"),
    ("copies of one value", "mutation { cancelTask(id: 1) { " + _aliases(6, "task { result }") + " } }"),
    ("depth", "{ task(id: 1) {" + "parent {" * 12 + "id" + "}" * 14),
    ("depth", f"{{ task(id: 1) {{ ...f0 }} }} {_chain(12, 'parent {{ {next} }}')}"),
    ("aliases", f"{{ tasks {{ nodes {{ ...f0 }} }} }} {_chain(9, 'a: parent {{ {next} }} b: parent {{ {next} }}')}"),
    ("uses of fragments", "{ ...f0 } " + _chain(30, "{next} {next}").replace("id ", "")),
    ("directives", "{ id " + "@include(if: true) " * 101 + "}"),
    ("operations", " ".join(f"query q{n} {{ __typename }}" for n in range(21))),
    ("fragments", "{ __typename } " + " ".join(f"fragment f{n} on Task {{ id }}" for n in range(51))),
    ("introspection fields", "{ a: __schema { description } b: __schema { description } __type(name: 1) { name } }"),
    ("introspection depth", "{ __schema { types {" + "ofType {" * 15 + "name" + "}" * 18),
    ("mutations", f"mutation {{ {_aliases(21, 'deleteTask(id: 1) { deletedTaskId }')} }}"),
    ("bulk mutations", f"mutation {{ {_aliases(3, 'deleteTasks(filter: {}) { changed }')} }}"),
    ("bulk mutations", ("mutation { ...A ...B } fragment A on Mutation { deleteTasks(filter: {}) { changed } }"
     " fragment B on Mutation { cancelTasks(filter: {}) { changed } }")),
    ("pairs of fields with the same key", "{ tasks { nodes { " + "parent { id } " * 120 + "} } }"),
    ("pairs of fields with the same key", "{ tasks { nodes { " + "a: id a: name " * 40 + "} } }"),
    ("pairs of fields with the same key",
     "{ tasks { nodes { " + " ".join(f"...f{n}" for n in range(45)) + " } } } "
     + " ".join(f"fragment f{n} on Task {{ parent {{ id name }} }}" for n in range(45))),
    ("pairs of fields with the same key",
     "{ task(id: 1) { ...f } } fragment f on Task { " + "name " * 1900 + "} fragment f on Task { id }"),
    ("fragments", "{ __typename } " + "fragment f on Task { id } " * 51),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "query"), _TOO_LARGE)
def test_a_document_over_a_limit_is_refused(limit: str, query: str) -> None:
    """The error names the limit and both figures, the second time too."""
    reader = DocumentReader(LimitSettings())
    for _ in range(2):
        with pytest.raises(LimitExceededError) as refused:
            reader.read(_CORE, query)
        extensions = refused.value.extensions or {}
        assert (extensions["code"], extensions["limit"]) == ("LIMIT_EXCEEDED", limit)
        assert extensions["value"] > extensions["max"]
        assert refused.value.message == f"{limit} {extensions['value']:,}, at most {extensions['max']:,}"


@pytest.mark.parametrize(("limit", "query"), _TOO_LARGE)
def test_a_refusal_is_cheap(limit: str, query: str) -> None:
    """A document over a limit costs no more than a few introspection queries, which every client may send."""

    def refuse(reader: DocumentReader) -> None:
        with pytest.raises(LimitExceededError, match=limit):
            reader.read(_CORE, query)

    assert _seconds(refuse) < _MAX_INTROSPECTIONS * _seconds(_introspect)


def _seconds(call: Callable[[DocumentReader], object]) -> float:
    """Return the processor time of a call with a new reader, the least of three."""

    def once() -> float:
        reader = DocumentReader(LimitSettings())
        begin = time.process_time()
        call(reader)
        return time.process_time() - begin

    return min(once() for _ in range(3))


def _introspect(reader: DocumentReader) -> None:
    reader.read(_CORE, get_introspection_query())


_LARGEST = [
    "{ task(id: 1) { " + " ".join(f"x{n}" for n in range(490)) + " } }",
    "{ tasks { nodes { " + "parent { id name status queue } " * 28 + "} } }",
    "{ tasks { nodes { " + _aliases(5, "metadata(asText: true)") + "} } }",
    "{ tasks(filter: {OR: [" + '{names: ["a"]} ' * 230 + "]}) { nodes { id } } }",
    "{ tasks(filter: {" + "a: 1 " * 650 + "}) { nodes { id } } }",
    "query (" + " ".join(f"$v{n}: Int" for n in range(490)) + ") { __typename }",
    '{ task(id: """' + "\n a" * 21_000 + '""") { id } }',
    f"{{ tasks {{ nodes {{ ...f0 }} }} }} {_chain(45, '{next}')}",
    get_introspection_query(),
]


@pytest.mark.parametrize("query", _LARGEST)
def test_a_document_within_the_limits_is_validated_at_once(query: str) -> None:
    """No document that is allowed blocks the event loop for longer than a few introspection queries do."""
    assert _seconds(lambda reader: reader.read(_CORE, query)) < _MAX_INTROSPECTIONS * _seconds(_introspect)


def test_what_is_read_for_each_alias_is_no_copy() -> None:
    """Many tasks, lists and facets may be selected side by side: the budget of bytes counts each of them."""
    parts = [
        _aliases(12, "task(id: 1) { result }"),
        "one: tasks { " + " ".join(f"f{n}: facet(by: NAME) {{ value }}" for n in range(12)) + " }",
        "two: task(id: 1) { " + " ".join(f"c{n}: children {{ nodes {{ result }} }}" for n in range(12)) + " }",
    ]
    assert not DocumentReader(LimitSettings()).read(_CORE, f"{{ {' '.join(parts)} }}").errors


@pytest.mark.parametrize(
    "query", ["{" + "a {" * 900, "{ a(b: " + "[" * 900, "{ a(b: " + "{a: " * 400, "{" + "... {" * 800]
)
def test_endless_nesting_is_an_ordinary_error(query: str) -> None:
    """The error is that of a syntax error, with a message for the client."""
    with pytest.raises(GraphQLError, match=r"nested too deeply|Expected Name"):
        DocumentReader(LimitSettings()).read(_CORE, query)


def test_the_cache_of_documents_is_bounded_by_their_size() -> None:
    """Hundreds of large documents take no more memory than the cache may have."""
    maximum = 4 * 1024 * 1024
    reader = DocumentReader(LimitSettings(document_cache_max_bytes=maximum, document_max_copies=1000))
    tracemalloc.start()
    try:
        for number in range(40):
            fields = " ".join(f"a{number}x{n}: metadata(asText: true)" for n in range(99))
            reader.read(_CORE, f"{{ tasks {{ nodes {{ {fields} }} }} }}")
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 2.5 * maximum
    assert taken > maximum / 4, "the weights are far too high"
