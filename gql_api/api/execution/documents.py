"""Parse and validate the documents of clients, each of them once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule
from strawberry.types import ExecutionContext

_MAX_DOCUMENTS = 1000
# As in Strawberry's validate_document, which cannot leave out suggestions.
_RULES = [*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule]


class Documents(SchemaExtension):
    """A Strawberry extension that takes documents, and their errors, from a cache of the last 1,000.

    Strawberry has a cache for each of the two, and the second compares all nodes of a document in every request.

    A document of several operations is refused when the request does not name one: Strawberry would run the first. The
    rule is the GraphQL specification's GetOperation (https://spec.graphql.org/October2021/#sec-Executing-Requests).
    """

    def on_parse(self) -> Iterator[None]:
        """Set the document of the operation, and its errors."""
        context = self.execution_context
        is_hidden = is_hidden_from(context.context)
        document, errors = read(context.schema._schema, context.query or "", is_hidden)  # noqa: SLF001 - as Strawberry
        context.graphql_document = document
        # Strawberry reports these errors after it has checked the type of the operation.
        context.pre_execution_errors = errors or _ambiguity(document, context)
        yield


def syntax_error(query: str) -> GraphQLError | None:
    """Return the error of a document that cannot be parsed, otherwise None."""
    document = _parsed(query)
    return document if isinstance(document, GraphQLError) else None


def is_hidden_from(context: object) -> bool:
    """Return whether the clients of a context may not learn the schema."""
    return getattr(context, "production", False) is True


@lru_cache(_MAX_DOCUMENTS)
def read(schema: GraphQLSchema, query: str, is_hidden: bool = False) -> tuple[DocumentNode, list[GraphQLError]]:
    """Parse and validate a document, by the rules of the specification.

    Args:
        schema: the schema to validate against.
        query: the document.
        is_hidden: refuse introspection, and leave out suggestions.

    Raises:
        GraphQLError: the document cannot be parsed.
    """
    document = _parsed(query)
    if isinstance(document, GraphQLError):
        raise document.with_traceback(None)  # the error is cached, and each raise adds to its traceback
    # An exception that a literal causes in the parser of its type is the client's error, as for a variable.
    rules = [*_RULES, NoSchemaIntrospectionCustomRule] if is_hidden else _RULES
    errors = validate(schema, document, rules, hide_suggestions=is_hidden)
    return document, [GraphQLError(error.message, error.nodes) for error in errors]


@lru_cache(_MAX_DOCUMENTS)
def subscription_field(query: str, name: str | None) -> FieldNode | None:
    """Return the only field of a subscription; None for all other operations, and for an invalid document."""
    document = _parsed(query)
    operation = None if isinstance(document, GraphQLError) else get_operation_ast(document, name)
    if operation is None or operation.operation is not OperationType.SUBSCRIPTION:
        return None
    selections = operation.selection_set.selections
    only = selections[0] if len(selections) == 1 else None
    return only if isinstance(only, FieldNode) else None


@lru_cache(_MAX_DOCUMENTS)
def operation_name(query: str, name: str | None) -> str | None:
    """Return the name of the operation that a request runs; None if it has none, or if there is no such operation."""
    document = _parsed(query)
    operation = None if isinstance(document, GraphQLError) else get_operation_ast(document, name)
    return None if operation is None or operation.name is None else operation.name.value


@lru_cache(_MAX_DOCUMENTS)
def is_subscription(query: str, name: str | None) -> bool:
    """Return whether a request runs a subscription, however it selects its field."""
    document = _parsed(query)
    operation = None if isinstance(document, GraphQLError) else get_operation_ast(document, name)
    return operation is not None and operation.operation is OperationType.SUBSCRIPTION


@lru_cache(_MAX_DOCUMENTS)
def _parsed(query: str) -> DocumentNode | GraphQLError:
    try:
        return parse(query)
    except GraphQLError as error:
        return error
    except RecursionError:
        return GraphQLError("The document is nested too deeply")


def _ambiguity(document: DocumentNode, context: ExecutionContext) -> list[GraphQLError]:
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    # The public ``operation_name`` of the context falls back to the first operation's name.
    if len(operations) <= 1 or context._provided_operation_name is not None:  # noqa: SLF001
        return []
    problem = "The document has several operations: name the one to run in operationName"
    return [GraphQLError(problem, nodes=operations)]
