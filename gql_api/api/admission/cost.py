"""The cost of an operation: how many values its answer may have, by the rules of docs/limits.md.

A field costs 1 and an object 4; arguments add 4, and a search of all tasks adds 500. The fields of a list's items count
once for each item that the list may have. The cost of an operation is computed once; where page sizes are variables,
it is a formula of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_introspection_type,
    is_list_type,
)

Variables: TypeAlias = Mapping[str, Any]
Size: TypeAlias = int | Callable[[Variables], int]

OBJECT_COST: Final = 4
ARGUMENTS_COST: Final = 4
SCAN_COST: Final = 500
DEFAULT_PAGE_SIZE: Final = 20
MAX_PAGE_SIZE: Final = 500

# MongoDB may have to examine all tasks for these. One query counts the children of all tasks of a page.
SCANS: Final = frozenset(
    {"Query.auditLog", "Query.taskStats", "Query.tasks", "TaskConnection.totalCount", "TaskConnection.facet"}
)
_COUNTED_TOGETHER = ("Task.children", "TaskConnection.totalCount")
# The lists that are as long as the page, or as the list of inputs, of the field above them.
PAGES: Final = frozenset(
    {
        "ApiTokenConnection.edges",
        "ApiTokenConnection.nodes",
        "AuditLogConnection.edges",
        "AuditLogConnection.nodes",
        "CreateTasksPayload.results",
        "TaskConnection.edges",
        "TaskConnection.nodes",
        "TaskLogConnection.edges",
        "TaskLogConnection.nodes",
    }
)
# The lists without a page size, with the number of items that each counts as.
LISTS: Final = {
    "BulkTaskPayload.userErrors": 1,
    "CreateAccessTokenPayload.userErrors": 1,
    "CreateApiTokenPayload.userErrors": 1,
    "CreateTaskPayload.userErrors": 1,
    "CreateTasksPayload.userErrors": 1,
    "DeleteTaskPayload.userErrors": 1,
    "Query.queues": 50,
    "Query.taskDefinitions": 50,
    "Query.taskStats": 50,
    "Query.workers": 50,
    "RevokeApiTokenPayload.userErrors": 1,
    "Task.history": 5,
    "TaskPayload.userErrors": 1,
}
_TYPES = "__Schema.types"
_INTROSPECTED_TYPES = 10
_INTROSPECTED_ITEMS = 2
_OTHER_ITEMS = 10
_SIZES = ("first", "last")
_LENGTHS = ("ids", "inputs")


@dataclass(frozen=True, slots=True)
class Formula:
    """An amount that depends on variables: a constant, and amounts that are multiplied by a size."""

    constant: int
    terms: tuple[tuple[Callable[[Variables], int], Amount], ...]

    def __call__(self, variables: Variables) -> int:
        """Compute the amount."""
        total = self.constant
        for size, amount in self.terms:
            total += size(variables) * (amount if isinstance(amount, int) else amount(variables))
        return total


Amount: TypeAlias = int | Formula


def cost_of(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Amount:
    """Return the cost of an operation of a valid document, or the function that computes it from raw variables."""
    root = schema.get_root_type(operation.operation)
    return 0 if root is None else _Costs(schema, document, operation).of_object(root, operation.selection_set)[0]


class _Costs:
    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._defaults = {
            definition.variable.name.value: definition.default_value
            for definition in operation.variable_definitions or ()
        }

    def of_object(
        self, type_: GraphQLNamedType, selections: SelectionSetNode, above: str = ""
    ) -> tuple[Amount, Amount]:
        """Return the cost of one object of a field, and of what it costs for each item of its page."""
        own: Amount = 0
        items: Amount = 0
        for node in selections.selections:
            if isinstance(node, FieldNode):
                more, more_items = self._of_field(type_, node, above)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                more, more_items = self.of_object(self._type(fragment, type_), fragment.selection_set, above)
            else:
                inline = cast("InlineFragmentNode", node)
                more, more_items = self.of_object(self._type(inline, type_), inline.selection_set, above)
            own, items = _sum(own, more), _sum(items, more_items)
        return own, items

    def _type(self, node: FragmentDefinitionNode | InlineFragmentNode, type_: GraphQLNamedType) -> GraphQLNamedType:
        condition = node.type_condition
        return type_ if condition is None else self._schema.type_map[condition.name.value]

    def _of_field(self, type_: GraphQLNamedType, node: FieldNode, above: str) -> tuple[Amount, Amount]:
        coordinate = f"{type_.name}.{node.name.value}"
        field = self._schema.get_field(cast("Any", type_), node.name.value)
        if field is None:
            return 0, 0  # a valid document has no such field
        named = get_named_type(field.type)
        is_scan = coordinate in SCANS and (above, coordinate) != _COUNTED_TOGETHER
        base = 1 + (ARGUMENTS_COST if node.arguments else 0) + (SCAN_COST if is_scan else 0)
        if not is_composite_type(named) or node.selection_set is None:
            return base, 0
        own, items = self.of_object(named, node.selection_set, coordinate)
        page = self._page_size(field, node)
        item = _sum(_sum(OBJECT_COST, own), _product(DEFAULT_PAGE_SIZE if page is None else page, items))
        if not is_list_type(get_nullable_type(field.type)):
            return _sum(base, item), 0
        if coordinate in PAGES:
            return base, item
        return _sum(base, _product(_length(coordinate, type_) if page is None else page, item)), 0

    def _page_size(self, field: GraphQLField, node: FieldNode) -> Size | None:
        """Return how many items the arguments of a field ask for; None if it has no such arguments."""
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        for name in _LENGTHS:
            if name in field.args:
                return self._value(given.get(name), _item_count)
        if "first" not in field.args:
            return None
        default = field.args["first"].default_value
        size = default if isinstance(default, int) else DEFAULT_PAGE_SIZE
        sizes = [self._value(given[name], lambda value: _size(value, size)) for name in _SIZES if name in given]
        return size if not sizes else sizes[0] if len(sizes) == 1 else MAX_PAGE_SIZE

    def _value(self, node: object, size: Callable[[object], int]) -> Size:
        if isinstance(node, VariableNode):
            name = node.name.value
            default = _literal(self._defaults.get(name))
            return lambda variables: size(variables.get(name, default))
        return size(_literal(node))


def _literal(node: object) -> object:
    """Return the value of a literal that a page size can be, or the items of a list."""
    if isinstance(node, ListValueNode):
        return node.values
    return int(node.value) if isinstance(node, IntValueNode) else None


def _length(coordinate: str, type_: GraphQLNamedType) -> int:
    if is_introspection_type(type_):
        return _INTROSPECTED_TYPES if coordinate == _TYPES else _INTROSPECTED_ITEMS
    return LISTS.get(coordinate, _OTHER_ITEMS)


def _size(value: object, default: int) -> int:
    # A larger page is refused by its field, which says why. The type Int accepts 500.0 for 500.
    return int(max(0, min(value, MAX_PAGE_SIZE))) if isinstance(value, int | float) else default


def _item_count(value: object) -> int:
    # A single value is a list of one.
    return len(value) if isinstance(value, list | tuple) else 1


def _sum(left: Amount, right: Amount) -> Amount:
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    first, second = _formula(left), _formula(right)
    return Formula(first.constant + second.constant, first.terms + second.terms)


def _product(size: Size, amount: Amount) -> Amount:
    if not isinstance(size, int):
        return 0 if amount == 0 else Formula(0, ((size, amount),))
    if isinstance(amount, int):
        return size * amount
    return Formula(size * amount.constant, tuple((factor, _product(size, term)) for factor, term in amount.terms))


def _formula(amount: Amount) -> Formula:
    return Formula(amount, ()) if isinstance(amount, int) else amount
