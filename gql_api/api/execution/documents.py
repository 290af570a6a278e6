"""Documents of clients, each parsed and validated once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
    specified_rules,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import validate_document
from strawberry.types import ExecutionContext

_DOCUMENTS = 1000


class Documents(SchemaExtension):
    """Finds the document of an operation, and what is wrong with it, among the last 1,000.

    Strawberry has a cache for each of the two, of which the second compares all nodes of a document in every request.

    A document of several operations is refused when the request does not say which: Strawberry would run the first. The
    rule is the GraphQL specification's GetOperation (https://spec.graphql.org/October2021/#sec-Executing-Requests).
    """

    def on_parse(self) -> Iterator[None]:
        """Give the operation its document. Strawberry tells the errors when it has looked at the kind of operation."""
        context = self.execution_context
        document, errors = read(context.schema._schema, context.query or "")  # noqa: SLF001 - as Strawberry's own cache
        context.graphql_document = document
        context.pre_execution_errors = errors or _unnamed(document, context)
        yield


def syntax_error(query: str) -> GraphQLError | None:
    """What is wrong with a document before anything else can be, if anything is."""
    document = _parsed(query)
    return document if isinstance(document, GraphQLError) else None


@lru_cache(_DOCUMENTS)
def read(schema: GraphQLSchema, query: str) -> tuple[DocumentNode, list[GraphQLError]]:
    """Parse and validate a document, by the rules of the specification.

    Raises:
        GraphQLError: it cannot be parsed.
    """
    document = _parsed(query)
    if isinstance(document, GraphQLError):
        raise document.with_traceback(None)  # it is kept, and each raise adds to its traceback
    return document, validate_document(schema, document, specified_rules)


@lru_cache(_DOCUMENTS)
def subscription_field(query: str, name: str | None) -> FieldNode | None:
    """The one field of a subscription; None for anything else, and for what has to be executed to be refused."""
    document = _parsed(query)
    operation = None if isinstance(document, GraphQLError) else get_operation_ast(document, name)
    if operation is None or operation.operation is not OperationType.SUBSCRIPTION:
        return None
    selections = operation.selection_set.selections
    only = selections[0] if len(selections) == 1 else None
    return only if isinstance(only, FieldNode) else None


@lru_cache(_DOCUMENTS)
def _parsed(query: str) -> DocumentNode | GraphQLError:
    try:
        return parse(query)
    except GraphQLError as error:
        return error
    except RecursionError:
        return GraphQLError("The document is nested too deeply")


def _unnamed(document: DocumentNode, context: ExecutionContext) -> list[GraphQLError]:
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    # Its public ``operation_name`` has the first one's name already.
    if len(operations) <= 1 or context._provided_operation_name is not None:  # noqa: SLF001
        return []
    problem = "The document has several operations: name the one to run in operationName"
    return [GraphQLError(problem, nodes=operations)]
