"""The documents of the walk over the schema, and the parts of the schema that documents use."""

from __future__ import annotations

from collections.abc import Iterable

from graphql import (
    EnumValueNode,
    FieldNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLType,
    Node,
    ObjectFieldNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_named_type,
    parse,
    visit,
)

# Enums whose every value reads something else.
_WALKED_ENUMS = ("TaskFacet", "TaskOrderField")

PAGE = """
fragment Page on TaskConnection {
  edges { cursor node { id metadata } } nodes { id metadata }
  pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount
  names: facet(by: NAME, first: 50) { value count }
  secrets: facet(by: METADATA, metadataPath: "secret", first: 50) { value count }
}
"""
TASK = """
fragment Whole on Task {
  id name status isFinal revision attempts queue priority worker owner idempotencyKey
  createdAt scheduledFor expiresAt cancelRequestedAt startedAt finishedAt updatedAt
  args(asText: false) kwargs(asText: false) metadata(asText: false) result(asText: false)
  error { type message traceback } progress { current total percent message data(asText: false) }
  history { revision status at worker message actor }
  logs(first: 5, after: null, minLevel: DEBUG) {
    edges { cursor node { cursor at level message } } nodes { message }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
  parent { id metadata } replayOf { id metadata } children(first: 20, after: null) { ...Page }
  definition { name description inputSchema redact queue maxRetries timeLimit workers }
}
"""
_NAMED = "{ ...Whole }"
_ERRORS = "userErrors { code message field }"
_CHANGED = f"{{ task {_NAMED} {_ERRORS} }}"
_CREATED = f"{{ task {_NAMED} created {_ERRORS} }}"
_INPUT = (
    '{name: "add", args: [], kwargs: {x: 1}, metadata: {team: "red"}, idempotencyKey: "key", delaySeconds: 60, '
    'expiresInSeconds: 60, priority: 1, queue: "sums", parentId: $id}'
)
_OPERATIONS = (
    '[{op: SET, path: "a", value: 1}, {op: UNSET, path: "a"}, {op: INCREMENT, path: "b", value: 1}, '
    '{op: APPEND, path: "c", value: 1}]'
)

_LATER = (
    '{name: "add", kwargs: {x: 1}, metadata: {team: "red"}, scheduledFor: "2027-06-01T00:00:00Z", '
    "timeLimitSeconds: 5, parentId: $id}"
)

# Reads that take the id of a task.
READS = {
    "node": "{ node(id: $id) { id ...Whole } }",
    "task": f"{{ task(id: $id) {_NAMED} }}",
    "nodes": "{ nodes(ids: [$id, $id]) { id ...Whole } }",
    "ids": "{ tasks(filter: {ids: [$id]}) { ...Page } }",
    "parentId": "{ tasks(filter: {parentId: $id}) { ...Page } }",
    "children of ids": "{ tasks(filter: {OR: [{parentId: $id}, {AND: [{ids: [$id]}]}]}) { ...Page } }",
    "others": "{ tasks(filter: {NOT: {ids: [$id]}}) { ...Page } }",
}
# Writes that take the id of a task, with the deletion last.
WRITES = {
    "createTask": f"{{ createTask(input: {_INPUT}) {_CREATED} }}",
    "createTasks": f"{{ createTasks(inputs: [{_INPUT}, {_LATER}]) {{ results {_CREATED} {_ERRORS} }} }}",
    "replayTask": f'{{ replayTask(id: $id, kwargs: {{x: 2}}, metadata: {{team: "red"}}) {_CREATED} }}',
    "rescheduleTask": f'{{ rescheduleTask(id: $id, scheduledFor: "2027-06-01T00:00:00Z") {_CHANGED} }}',
    "updateTaskMetadata": (
        f"{{ updateTaskMetadata(id: $id, operations: {_OPERATIONS}, expectedRevision: 100) {_CHANGED} }}"
    ),
    "cancelTask": f'{{ cancelTask(id: $id, reason: "r", force: false, cascade: true) {_CHANGED} }}',
    "cancelTask by force": f"{{ cancelTask(id: $id, force: true) {_CHANGED} }}",
    "deleteTask": f"{{ deleteTask(id: $id) {{ deletedTaskId {_ERRORS} }} }}",
}
# Writes on all tasks that match a filter.
BULK = {
    name: f"{{ {name}Tasks(filter: {{}}, dryRun: $dryRun) {{ matched changed {_ERRORS} }} }}"
    for name in ("replay", "cancel", "delete")
}
_SOME_TIME = '{gte: "2020-01-01T00:00:00Z", lt: "2100-01-01T00:00:00Z"}'
FILTERS = (
    '{names: ["add"]}',
    "{statuses: [QUEUED, SUCCESS]}",
    '{queues: ["sums", "celery"]}',
    '{errorTypes: ["ValueError", "TaskRevokedError"]}',
    "{isReplayed: false}",
    f"{{createdAt: {_SOME_TIME}}}",
    f"{{finishedAt: {_SOME_TIME}}}",
    f"{{updatedAt: {_SOME_TIME}}}",
    '{metadata: [{path: "team", eq: "red"}]}',
    '{metadata: [{path: "team", ne: "red"}]}',
    '{metadata: [{path: "team", in: ["red", "blue"]}]}',
    '{metadata: [{path: "n", gt: 0}, {path: "n", lt: 9}]}',
    '{metadata: [{path: "n", gte: 1}, {path: "n", lte: 8}]}',
    '{metadata: [{path: "secret", startsWith: "s"}]}',
    '{metadata: [{path: "secret", exists: true}]}',
    '{AND: [{names: ["add"]}, {OR: [{statuses: [SUCCESS]}, {NOT: {names: ["none"]}}]}]}',
    "{}",
)
LISTED = """{
  tasks(first: 50, filter: %s) {
    ...Page
    status: facet(by: STATUS, first: 50) { value count }
    queue: facet(by: QUEUE, first: 50) { value count }
    worker: facet(by: WORKER, first: 50) { value count }
    errors: facet(by: ERROR_TYPE, first: 50) { value count }
  }
}"""
_ROW = """fragment Row on TaskStatsBucket {
  at value created succeeded failed revoked queueSeconds { p50 p95 p99 max } runSeconds { p50 p95 p99 max }
}"""
STATISTICS_BY = ("null", "STATUS", "NAME", "QUEUE", "WORKER", "ERROR_TYPE")
PAGES = """query ($first: Int, $after: String, $last: Int, $before: String) {
  tasks(first: $first, after: $after, last: $last, before: $before, orderBy: {field: %s, direction: %s}) {
    edges { cursor node { id } } totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}"""
ORDERS = [(field, way) for field in ("CREATED_AT", "UPDATED_AT", "FINISHED_AT") for way in ("ASC", "DESC")]
OF_NO_TASK = (
    "{ taskDefinitions { name } queues { name depth oldestQueuedAt } "
    "workers { hostname pool concurrency active lastHeartbeatAt missedHeartbeats isConsuming } }"
)


def with_fragments(document: str) -> str:
    """Return a document with the fragments that it uses."""
    whole = TASK if "...Whole" in document else ""
    return document + whole + (PAGE if "...Page" in document + whole else "")


def on_id(kind: str, document: str) -> str:
    """Return a document that takes the id of a task."""
    return with_fragments(f"{kind} ($id: ID!) {document}")


def statistics(filter_: str) -> str:
    """Return a document that counts the tasks of a filter by each property, whose name is that of the field."""
    fields = "".join(
        f"by_{by}: taskStats(from: $from, to: $to, bucketSeconds: 86400, by: {by}, filter: {filter_}) {{ ...Row }} "
        for by in STATISTICS_BY
    )
    return f"query ($from: DateTime!, $to: DateTime) {{ {fields} }} {_ROW}"


def bulk(document: str) -> str:
    """Return a document that takes whether it only counts."""
    return f"mutation ($dryRun: Boolean) {document}"


def documents() -> list[str]:
    """Return all documents of the walk."""
    return [
        *(on_id("query", each) for each in READS.values()),
        *(on_id("mutation", each) for each in WRITES.values()),
        *map(bulk, BULK.values()),
        *(with_fragments(LISTED % each) for each in FILTERS),
        *map(statistics, FILTERS),
        *(with_fragments(PAGES % order) for order in ORDERS),
        OF_NO_TASK,
    ]


def coordinates(schema: GraphQLSchema) -> set[str]:
    """Return all that a query or a mutation can use of a schema: fields, arguments, input fields and some enums."""
    found: set[str] = set()
    for type_ in _reachable(schema):
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            for name, field in type_.fields.items():
                found |= {f"{type_}.{name}", *(f"{type_}.{name}({argument}:)" for argument in field.args)}
        elif isinstance(type_, GraphQLInputObjectType):
            found |= {f"{type_}.{name}" for name in type_.fields}
        elif isinstance(type_, GraphQLEnumType) and type_.name in _WALKED_ENUMS:
            found |= {f"{type_}.{name}" for name in type_.values}
    return found


def _reachable(schema: GraphQLSchema) -> set[GraphQLNamedType]:
    """Return the types that a query or a mutation reaches."""
    found: set[GraphQLNamedType] = set()
    left: list[GraphQLType | None] = [schema.query_type, schema.mutation_type]
    while left:
        type_ = get_named_type(left.pop())
        if type_ is None or type_ in found:
            continue
        found.add(type_)
        for field in getattr(type_, "fields", {}).values():
            left += [field.type, *(argument.type for argument in getattr(field, "args", {}).values())]
    return found


def used_by(texts: Iterable[str], schema: GraphQLSchema) -> set[str]:
    """Return what documents use of a schema."""
    used: set[str] = set()
    for text in texts:
        type_info = TypeInfo(schema)
        visit(parse(text), TypeInfoVisitor(type_info, _Used(type_info, used)))
    return used


class _Used(Visitor):
    """A visitor of documents that notes what they use."""

    def __init__(self, type_info: TypeInfo, used: set[str]) -> None:
        super().__init__()
        self._type_info = type_info
        self._used = used

    def enter(self, node: Node, *_: object) -> None:
        """Note a field with its arguments, a field of an input object or a value of an enum."""
        if isinstance(node, FieldNode):
            name = f"{self._type_info.get_parent_type()}.{node.name.value}"
            self._used |= {name, *(f"{name}({argument.name.value}:)" for argument in node.arguments or ())}
        elif isinstance(node, ObjectFieldNode):
            self._used.add(f"{get_named_type(self._type_info.get_parent_input_type())}.{node.name.value}")
        elif isinstance(node, EnumValueNode):
            self._used.add(f"{get_named_type(self._type_info.get_input_type())}.{node.value}")
