"""Compile the selections of operations: a plan is made once and serves all executions of its operation.

graphql-core itself collects the selected fields, so that fragments, conditions and repeated selections have the same
meaning as there. :mod:`gql_api.api.execution.completion` reads the compilable fields: attributes, and resolvers that
need only their object. graphql-core executes all other fields.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, getattr_static
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, cast

from graphql import (
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
    TypeNameMetaFieldDef,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)
from graphql.execution.collect_fields import CollectedFields, FieldDetails, FieldDetailsList
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from gql_api.api.admission.cache import WeighedCache, weight_of
from gql_api.api.execution.completion import Answer, Completion, of_event, of_leaf, of_list, of_object
from gql_api.api.execution.fallbacks import count_fallback
from gql_api.api.execution.rows.steps import Path, Place, Read, Step, Stored, place_of

Collect: TypeAlias = Callable[[GraphQLObjectType, FieldDetailsList], CollectedFields]

_BACK = GraphQLCoreConverter.DEFINITION_BACKREF
_CONDITIONS = frozenset({"skip", "include"})


class Selection(NamedTuple):
    """The selected fields of an object type, with a completion when all of them are compilable."""

    collected: CollectedFields
    completion: Completion | None


class OperationPlan:
    """The plan of one operation, for given values of the variables that conditions may depend on.

    A selection is planned when the first object of its type is completed. The plan identifies the nodes of the document
    by their ids, and keeps them alive.

    Args:
        schema: the schema of the operation.
        operation: the operation.
        fragments: the fragments of its document.
        hidden: the fields that are null for its callers, like ``Task.definition``.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDefinitionNode],
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        self._schema = schema
        self._hidden = hidden
        self._nodes = operation, fragments
        self._selections: dict[tuple[object, ...], Selection] = {}
        # By the identity of the collected fields, which the selections keep alive.
        self.steps: dict[int, Step] = {}
        self._answers: list[Answer | None] = []

    def selection(self, type_: GraphQLObjectType, details: FieldDetailsList, collect: Collect) -> Selection | None:
        """Plan the selection of an object type; None when graphql-core has to collect it for each object.

        Args:
            type_: the object type.
            details: the fields that have the selection.
            collect: graphql-core's function that collects the selected fields.

        Raises:
            GraphQLError: a condition has no valid value.
        """
        key = (type_, *[id(field.node) for field in details])
        selection = self._selections.get(key)
        if selection is None and all(map(_is_unconditional, details)):
            collected = collect(type_, details)
            if not collected.new_defer_usages:
                selection = self._selections[key] = Selection(collected, self._object(type_, collected, collect))
        return selection

    def answer(self, collect_root: Callable[[GraphQLObjectType], CollectedFields], collect: Collect) -> Answer | None:
        """Plan the answer to a subscription's event; None when it is not compilable."""
        root = self._schema.subscription_type
        if root is None:
            return None
        if not self._answers:
            fields = collect_root(root).grouped_field_set
            answers = [self._root_field(root, key, details, collect) for key, details in fields.items()]
            self._answers = answers if len(answers) == 1 else [None]
        return self._answers[0]

    def _root_field(
        self, root: GraphQLObjectType, key: str, details: FieldDetailsList, collect: Collect
    ) -> Answer | None:
        # Strawberry resolves the field of a subscription to the event, whatever the arguments of the field are.
        field = self._schema.get_field(root, details[0].node.name.value)
        if field is None or not field.extensions[_BACK].is_subscription or not all(map(_is_compilable, details)):
            return None
        completion = self._completion(field.type, details, collect)
        return None if completion is None else of_event(key, completion)

    def _object(self, type_: GraphQLObjectType, collected: CollectedFields, collect: Collect) -> Completion | None:
        fields = collected.grouped_field_set
        steps = {key: self._step(type_, key, details, collect) for key, details in fields.items()}
        compiled = [step for step in steps.values() if step is not None]
        self.steps.update({id(fields[step.key]): step for step in compiled})
        definition = type_.extensions.get(_BACK)
        if len(compiled) < len(steps) or definition is None or definition.is_type_of is not None:
            return None
        # Strawberry's own predicate need not be called: it checks the class, except for cast objects. We cast none.
        kind: type = definition.origin
        return None if issubclass(kind, Exception) or hasattr(kind, "__await__") else of_object(kind, compiled)

    def _step(self, type_: GraphQLObjectType, key: str, details: FieldDetailsList, collect: Collect) -> Step | None:
        """Plan one field of an object type; None when it is not compilable."""
        if not all(map(_is_compilable, details)) or details[0].node.arguments:
            return None
        name = details[0].node.name.value
        field = self._schema.get_field(type_, name)
        is_hidden = f"{type_.name}.{name}" in self._hidden
        source = _HIDDEN if is_hidden else None if field is None else _source(field, type_)
        if field is None or source is None:
            return None
        completion = self._completion(field.type, details, collect)
        return None if completion is None else source.step(key, completion)

    def _completion(self, type_: GraphQLOutputType, details: FieldDetailsList, collect: Collect) -> Completion | None:
        if is_leaf_type(type_):
            return of_leaf(type_)
        if is_object_type(type_):
            return self._nested(type_, details, collect)
        if is_non_null_type(type_) or is_list_type(type_):
            inner = self._completion(type_.of_type, details, collect)
            if inner is not None:
                return inner.required if is_non_null_type(type_) else of_list(inner)
        return None

    def _nested(self, type_: GraphQLObjectType, details: FieldDetailsList, collect: Collect) -> Completion | None:
        try:
            selection = self.selection(type_, details, collect)
        except GraphQLError:
            # A condition has no valid value. That is an error of this field, and only if there is an object:
            # graphql-core finds out.
            return None
        except Exception as error:  # noqa: BLE001 - graphql-core executes this field instead
            count_fallback(error)
            return None
        return None if selection is None else selection.completion


class _Source(NamedTuple):
    """A way to read a field from its object; see :class:`Step`."""

    read: Read
    path: str | None = None
    place: Place | None = None
    is_shown_as_stored: bool = False

    def step(self, key: str, completion: Completion) -> Step:
        """Create the step for a key of an answer."""
        kept, complete, names = completion
        return Step(key, self.read, kept, complete, self.path, self.place, self.is_shown_as_stored, names)


_HIDDEN = _Source(lambda _: None)


def _is_unconditional(field: FieldDetails) -> bool:
    """Return whether the field is neither deferred nor in a fragment that has variables."""
    return field.defer_usage is None and field.fragment_variable_values is None


def _is_compilable(field: FieldDetails) -> bool:
    directives = field.node.directives or ()
    return _is_unconditional(field) and all(directive.name.value in _CONDITIONS for directive in directives)


def _source(field: GraphQLField, type_: GraphQLObjectType) -> _Source | None:
    """Return how a field is read from its object; None when reading needs more than the object."""
    if field is TypeNameMetaFieldDef:
        return _Source(lambda _: type_.name)
    definition = field.extensions.get(_BACK)
    if not isinstance(definition, StrawberryField) or definition.extensions or definition.is_async:
        return None
    resolver = definition.base_resolver
    if resolver is None:
        return _attribute(definition, type_) if definition.default_resolver is getattr else None
    # An argument that the operation leaves out has its default, which is that of the function's parameter.
    needed = [p for p in resolver.signature.parameters.values() if p.default is Parameter.empty]
    takes_self_only = resolver.self_parameter is not None and len(needed) == 1
    read = cast("Read", resolver.wrapped_func)
    return _Source(read, place=place_of(read)) if takes_self_only else None


def _attribute(field: StrawberryField, type_: GraphQLObjectType) -> _Source:
    name = field.python_name
    read = attrgetter(name)
    declared = getattr_static(type_.extensions[_BACK].origin, name, None)
    if isinstance(declared, Stored):
        return _Source(read, place=declared.place, is_shown_as_stored=True)
    return _Source(read, declared.path if isinstance(declared, Path) else name)


class Plans:
    """A bounded cache of plans, by operation: clients write the operations, and choose how large they are."""

    def __init__(self, max_weight: int) -> None:
        self._plans: WeighedCache[tuple[object, ...], OperationPlan] = WeighedCache(max_weight)

    def __len__(self) -> int:
        return len(self._plans)

    def plan(
        self,
        schema: GraphQLSchema,
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDefinitionNode],
        variables: dict[str, Any],
        hidden: frozenset[str] = frozenset(),
    ) -> OperationPlan:
        """Find the plan of an operation of a valid document, or create it."""
        # In a valid document the condition of a directive is a boolean, or a null that is an error.
        conditions = [item for item in variables.items() if item[1] is None or type(item[1]) is bool]
        key = (id(schema), id(operation), hidden, *map(id, fragments.values()), *conditions)
        plan = self._plans.get(key)
        if plan is None:
            plan = OperationPlan(schema, operation, fragments, hidden)
            self._plans.put(key, plan, weight_of(operation))
        return plan
