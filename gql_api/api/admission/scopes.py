"""The scopes that operations need, by the fields that they select.

An operation is checked before it is executed, wherever it comes from: :class:`~gql_api.api.execution.documents.
DocumentReader` computes its needs once and compares them with the scopes of each caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, cast

from graphql import (
    BooleanValueNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_composite_type,
)

from gql_api.access.principal import ANONYMOUS, Principal, Scope
from gql_api.api.errors import FORBIDDEN, ClientError
from gql_api.telemetry.counters import REFUSED_OPERATIONS

Variables: TypeAlias = Mapping[str, Any]

ROOT_FIELDS: Final[dict[str, Scope | None]] = {
    "Query.node": Scope.TASKS_READ,
    "Query.nodes": Scope.TASKS_READ,
    "Query.task": Scope.TASKS_READ,
    "Query.tasks": Scope.TASKS_READ,
    "Query.taskStats": Scope.TASKS_READ,
    "Query.taskDefinitions": Scope.OPERATE,
    "Query.queues": Scope.OPERATE,
    "Query.workers": Scope.OPERATE,
    "Query.viewer": None,
    "Query.apiTokens": Scope.ADMIN,
    "Query.auditLog": Scope.ADMIN,
    "Mutation.createTask": Scope.TASKS_CREATE,
    "Mutation.createTasks": Scope.TASKS_CREATE,
    "Mutation.replayTask": Scope.TASKS_CREATE,
    "Mutation.replayTasks": Scope.TASKS_CREATE,
    "Mutation.cancelTask": Scope.TASKS_CONTROL,
    "Mutation.cancelTasks": Scope.TASKS_CONTROL,
    "Mutation.rescheduleTask": Scope.TASKS_CONTROL,
    "Mutation.updateTaskMetadata": Scope.TASKS_CONTROL,
    "Mutation.deleteTask": Scope.TASKS_CONTROL,
    "Mutation.deleteTasks": Scope.TASKS_CONTROL,
    "Mutation.createAccessToken": None,
    "Mutation.createApiToken": Scope.ADMIN,
    "Mutation.revokeApiToken": Scope.ADMIN,
    "Subscription.taskUpdated": Scope.TASKS_READ,
    "Subscription.taskChanges": Scope.TASKS_READ,
    "Subscription.taskLogged": Scope.TASKS_READ,
}
"""The scope that each root field needs; None for a field that every caller may use. Others need ADMIN."""

STATE_FIELDS: Final = frozenset(
    {
        "id", "name", "status", "isFinal", "revision", "queue", "priority", "owner", "idempotencyKey", "createdAt",
        "scheduledFor", "expiresAt", "cancelRequestedAt", "startedAt", "finishedAt", "updatedAt",
    }
)  # fmt: skip
"""The fields of Task that a mutation's payload shows without TASKS_READ; all others of Task need it."""

NULL_WITHOUT: Final = {"Task.definition": Scope.OPERATE, "TaskError.traceback": Scope.OPERATE}
"""Fields that are null for a caller without a scope."""

_TASK = "Task"


class ForbiddenError(ClientError):
    """An error of an operation that needs a scope which its caller does not have. Creating it counts it."""

    def __init__(self, field: str, scope: Scope) -> None:
        super().__init__(f"{field}: needs the scope {scope}", FORBIDDEN)
        self.extensions = {"code": FORBIDDEN, "field": field, "scope": str(scope)}
        REFUSED_OPERATIONS.labels(scope).inc()


class _Condition(NamedTuple):
    """A ``@skip`` or ``@include`` with a variable; ``excluding`` is the value with which nothing is selected."""

    variable: str
    default: object
    excluding: bool


class _Need(NamedTuple):
    field: str
    scope: Scope
    conditions: frozenset[_Condition] = frozenset()

    def applies(self, variables: Variables) -> bool:
        """Return whether the field is selected. A variable with another value than a boolean selects it."""
        return all(variables.get(each.variable, each.default) is not each.excluding for each in self.conditions)


class Needs:
    """The scopes that an operation needs, each for a field.

    Args:
        needs: the needs of its fields.
    """

    def __init__(self, needs: Iterator[_Need]) -> None:
        self._needs = list(dict.fromkeys(needs))
        self._scopes = frozenset(need.scope for need in self._needs)

    def unmet(self, scopes: frozenset[Scope], variables: Variables) -> list[ForbiddenError]:
        """Return an error for each scope that is missing, which names the first field that needs it."""
        if self._scopes <= scopes:
            return []
        missing = [need for need in self._needs if need.scope not in scopes and need.applies(variables)]
        first = {need.scope: need.field for need in reversed(missing)}
        return [ForbiddenError(field, scope) for scope, field in reversed(first.items())]


def needs_of(schema: GraphQLSchema, document: DocumentNode, *operations: OperationDefinitionNode) -> Needs:
    """Return what operations of a valid document need, however they select their fields."""
    return Needs(need for operation in operations for need in _needs_of(schema, document, operation))


def _needs_of(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Iterator[_Need]:
    root = schema.get_root_type(operation.operation)
    if root is not None:
        fields = _Fields(schema, document, operation)
        yield from fields.needs(root, operation.selection_set, frozenset(), is_root=True)


def principal_of(context: object) -> Principal:
    """Return the caller of an operation; a context of no application has no authentication."""
    principal: Principal | None = getattr(context, "principal", None)
    return ANONYMOUS if principal is None else principal


@lru_cache(128)
def hidden_from(scopes: frozenset[Scope]) -> frozenset[str]:
    """Return the fields that are null for callers with these scopes."""
    return frozenset(coordinate for coordinate, scope in NULL_WITHOUT.items() if scope not in scopes)


class _Fields:
    """The selected fields of an operation. The limits of documents bound how many uses of fragments there are."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._defaults = {
            definition.variable.name.value: definition.default_value
            for definition in operation.variable_definitions or ()
        }

    def needs(
        self, type_: GraphQLNamedType, selections: SelectionSetNode, above: frozenset[_Condition], *, is_root: bool
    ) -> Iterator[_Need]:
        """Yield the needs of a selection set and of all below it."""
        for node in selections.selections:
            conditions = self._conditions(node)
            if conditions is None:
                continue
            conditions |= above
            if isinstance(node, FieldNode):
                yield from self._of_field(type_, node, conditions, is_root=is_root)
                continue
            fragment = (
                self._fragments[node.name.value]
                if isinstance(node, FragmentSpreadNode)
                else cast("InlineFragmentNode", node)
            )
            on = fragment.type_condition
            inner = type_ if on is None else self._schema.type_map[on.name.value]
            yield from self.needs(inner, fragment.selection_set, conditions, is_root=is_root)

    def _of_field(
        self, type_: GraphQLNamedType, node: FieldNode, conditions: frozenset[_Condition], *, is_root: bool
    ) -> Iterator[_Need]:
        name = node.name.value
        if name.startswith("__"):
            return
        coordinate = f"{type_.name}.{name}"
        if is_root:
            scope = ROOT_FIELDS.get(coordinate, Scope.ADMIN)
            if scope is not None:
                yield _Need(name, scope, conditions)
        elif type_.name == _TASK and name not in STATE_FIELDS:
            yield _Need(coordinate, Scope.TASKS_READ, conditions)
        field = self._schema.get_field(cast("Any", type_), name)
        if field is None or node.selection_set is None:
            return
        named = get_named_type(field.type)
        if is_composite_type(named):
            yield from self.needs(named, node.selection_set, conditions, is_root=False)

    def _conditions(self, node: SelectionNode) -> frozenset[_Condition] | None:
        """Return the conditions of a selection; None if it never selects anything."""
        found = set[_Condition]()
        for directive in node.directives or ():
            name = directive.name.value
            if name not in {"skip", "include"}:
                continue
            excluding = name == "skip"
            value = next((each.value for each in directive.arguments or () if each.name.value == "if"), None)
            if isinstance(value, VariableNode):
                variable = value.name.value
                default = self._defaults.get(variable)
                found.add(_Condition(variable, getattr(default, "value", None), excluding))
            elif isinstance(value, BooleanValueNode) and value.value is excluding:
                return None
        return frozenset(found)
