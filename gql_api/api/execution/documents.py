"""Parse, validate and admit the documents of clients, each of them once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

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

from gql_api.access.principal import Principal
from gql_api.api.admission.cache import WeighedCache, WeighedSource
from gql_api.api.admission.cost import Amount, Variables, cost_of
from gql_api.api.admission.scopes import ForbiddenError, Needs, needs_of, principal_of
from gql_api.api.admission.shape import ShapeError, check_shape, is_introspection, is_nested_deeper
from gql_api.api.admission.trusted import TrustedDocuments, TrustedDocumentsError
from gql_api.api.errors import DOCUMENT_NOT_TRUSTED, PERSISTED_QUERY_NOT_SUPPORTED, ClientError, LimitExceededError
from gql_api.limits import LimitSettings
from gql_api.telemetry.watchdog import label_task

# As in Strawberry's validate_document, which cannot leave out suggestions.
_RULES = [*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule]
_HIDING_RULES = [*_RULES, NoSchemaIntrospectionCustomRule]
# What a cached refusal takes, beside the text of the document.
_REFUSAL_WEIGHT = 1024
_MAX_MESSAGE = 1000
# The message of an error may print the literal around it, however large: graphql-core's 100 errors take half a second.
_MAX_ERRORS = 5
_ADVICE = "; use sys.set_int_max_str_digits() to increase the limit"
# graphql-core has no class of its own for these.
_TOO_MANY = re.compile(r"contains more than \d+ (tokens|comments)")
_NOT_TRUSTED = "The API runs trusted documents only: send the id of one in documentId, or its exact text"
_TOO_DEEP = "The document is nested too deeply"


@dataclass(frozen=True)
class Document:
    """A document that the limits allow. ``errors`` are those of its validation, which belong to one schema."""

    node: DocumentNode
    errors: list[GraphQLError]
    _schema: GraphQLSchema
    _costs: dict[int, Amount] = field(default_factory=dict)
    _needs: dict[str | None, Needs] = field(default_factory=dict)

    @property
    def operations(self) -> list[str | None]:
        """The names of the operations; an operation without a name is alone."""
        return [None if node.name is None else node.name.value for node in self._operation_nodes]

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        """Return the operation with a name, or the only operation; None if the document has no such operation."""
        return self._by_name.get(name)

    def cost(self, name: str | None, variables: Variables | None) -> int:
        """Return the cost of one operation of a valid document with these variables, which are not yet coerced."""
        operation = self.operation(name)
        if operation is None:
            return 0
        amount = self._costs.get(id(operation))
        if amount is None:
            amount = self._costs[id(operation)] = cost_of(self._schema, self.node, operation)
        return amount if isinstance(amount, int) else amount(variables or {})

    def needs(self, name: str | None) -> Needs:
        """Return the scopes that an operation of a valid document needs; for an unknown name those of all."""
        needs = self._needs.get(name)
        if needs is not None:
            return needs
        operation = self.operation(name)
        if operation is None:
            return needs_of(self._schema, self.node, *self._operation_nodes)
        needs = self._needs[name] = needs_of(self._schema, self.node, operation)
        return needs

    @cached_property
    def _by_name(self) -> dict[str | None, OperationDefinitionNode]:
        found = {name: get_operation_ast(self.node, name) for name in (None, *self.operations)}
        return {name: node for name, node in found.items() if node is not None}

    @property
    def _operation_nodes(self) -> list[OperationDefinitionNode]:
        return [node for node in self.node.definitions if isinstance(node, OperationDefinitionNode)]


class DocumentReader:
    """The documents of an application's clients, in a cache that their size bounds.

    Strawberry has a cache for parsing and one for validation, and the second compares all nodes of a document in every
    request.

    Args:
        limits: what a document may be, and what its operations may cost.
        trusted: the only documents that clients can run, beside introspection; None allows all documents.
        hides_schema: refuse introspection, and leave suggestions out of errors.
    """

    def __init__(
        self, limits: LimitSettings, trusted: TrustedDocuments | None = None, *, hides_schema: bool = False
    ) -> None:
        self.limits = limits
        self.hides_schema = hides_schema
        self._trusted = trusted
        self._parsed: WeighedCache[str, DocumentNode | Callable[[], GraphQLError]] = WeighedCache(
            limits.document_cache_max_bytes
        )
        self._valid: WeighedCache[tuple[int, str], Document] = WeighedCache(limits.document_cache_max_bytes)

    def requested(
        self, query: str | None, extensions: Mapping[str, Any] | None, document_id: str | None = None
    ) -> str | None:
        """Return the text of the document that a client wants to run; None if the request has none.

        A request has the document, or its id: in ``documentId``, by the GraphQL over HTTP specification, or as the
        hash of Apollo's persisted queries.

        Raises:
            ClientError: the document is not trusted, or the API knows no documents by their ids.
        """
        if query:
            if self._trusted is not None and query not in self._trusted.texts and not self._is_introspection(query):
                raise ClientError(_NOT_TRUSTED, DOCUMENT_NOT_TRUSTED)
            return query
        id_ = document_id or _persisted_hash(extensions)
        if id_ is None:
            return query
        if self._trusted is None:
            # Clients of Apollo's automatic persisted queries know this error, and send the document after it.
            raise ClientError("PersistedQueryNotSupported", PERSISTED_QUERY_NOT_SUPPORTED)
        text = self._trusted.find(id_)
        if text is None:
            raise ClientError(_NOT_TRUSTED, DOCUMENT_NOT_TRUSTED)
        return text

    def check_trusted(self, schema: GraphQLSchema) -> None:
        """Check that clients can run the trusted documents.

        Raises:
            TrustedDocumentsError: a document is invalid, or exceeds a limit.
        """
        for id_, text in () if self._trusted is None else self._trusted.items():
            try:
                document = self.read(schema, text)
                errors = document.errors
                for name in () if errors else document.operations:
                    self.check_cost(document, name, None)
            except GraphQLError as error:
                errors = [error]
            if errors:
                raise TrustedDocumentsError(f"the document {id_!r} cannot be run: {errors[0].message}")

    def is_subscription(self, query: str, name: str | None) -> bool:
        """Return whether a request runs a subscription, however it selects its field."""
        operation = self.operation(query, name)
        return operation is not None and operation.operation is OperationType.SUBSCRIPTION

    def _is_introspection(self, query: str) -> bool:
        node = self._parse(query)
        return isinstance(node, DocumentNode) and is_introspection(node)

    def read(self, schema: GraphQLSchema, query: str) -> Document:
        """Parse and validate a document, by the rules of the specification.

        Raises:
            GraphQLError: the document cannot be parsed, or exceeds a limit.
        """
        key = (id(schema), query)
        document = self._valid.get(key)
        if document is None:
            node = self._parse(query)
            if not isinstance(node, DocumentNode):
                raise node()
            document = Document(node, _validated(schema, node, hides_schema=self.hides_schema), schema)
            self._valid.put(key, document, _weight(node))
        return document

    def known(self, schema: GraphQLSchema, query: str) -> Document | None:
        """Return a document that was read before and is valid, otherwise None."""
        document = self._valid.get((id(schema), query))
        return None if document is None or document.errors else document

    def refusals(
        self, document: Document, name: str | None, variables: Variables | None, principal: Principal
    ) -> list[ForbiddenError]:
        """Return why a principal may not run an operation of a valid document; empty if it may."""
        return document.needs(name).unmet(principal.scopes, variables or {})

    def check_cost(self, document: Document, name: str | None, variables: Variables | None) -> int:
        """Return the cost of an operation of a valid document.

        Raises:
            LimitExceededError: the operation costs too much, or its variables are nested too deeply.
        """
        levels = self.limits.variables_max_depth
        # The object of all variables is no level of any value.
        if variables and is_nested_deeper(variables, levels + 1):
            raise LimitExceededError("depth of variables", levels + 1, levels)
        cost = document.cost(name, variables)
        if cost > self.limits.request_max_cost:
            raise LimitExceededError("cost", cost, self.limits.request_max_cost)
        return cost

    def refusal(self, query: str) -> GraphQLError | None:
        """Return the error of a document that cannot be parsed or exceeds a limit, otherwise None."""
        node = self._parse(query)
        return None if isinstance(node, DocumentNode) else node()

    def subscription_field(self, query: str, name: str | None) -> FieldNode | None:
        """Return the only field of a subscription; None for all other operations, and for an invalid document."""
        operation = self.operation(query, name)
        if operation is None or operation.operation is not OperationType.SUBSCRIPTION:
            return None
        selections = operation.selection_set.selections
        only = selections[0] if len(selections) == 1 else None
        return only if isinstance(only, FieldNode) else None

    def operation(self, query: str, name: str | None) -> OperationDefinitionNode | None:
        """Return the operation with a name, or the only operation; None if the document has no such operation."""
        node = self._parse(query)
        return get_operation_ast(node, name) if isinstance(node, DocumentNode) else None

    def _parse(self, query: str) -> DocumentNode | Callable[[], GraphQLError]:
        """Parse a document, or return the function that creates its error: each refusal is an error of its own."""
        node = self._parsed.get(query)
        if node is None:
            node = _parse(query, self.limits)
            weight = _weight(node) if isinstance(node, DocumentNode) else len(query) + _REFUSAL_WEIGHT
            self._parsed.put(query, node, weight)
        return node


# Not the settings of the environment, which an import must not read.
DEFAULT_READER: Final = DocumentReader(LimitSettings.model_construct())


def reader_of(context: object) -> DocumentReader:
    """Return the reader of the application that a context belongs to; a context of no application has the defaults."""
    reader: DocumentReader | None = getattr(context, "documents", None)
    return DEFAULT_READER if reader is None else reader


class Documents(SchemaExtension):
    """A Strawberry extension that takes documents, and their errors, from the application's :class:`DocumentReader`.

    A document of several operations is refused when the request does not name one: Strawberry would run the first. The
    rule is the GraphQL specification's GetOperation (https://spec.graphql.org/October2021/#sec-Executing-Requests).
    """

    _cost: dict[str, Any] | None = None

    def on_parse(self) -> Iterator[None]:
        """Set the document of the operation, and its errors."""
        context = self.execution_context
        label_task(context._provided_operation_name)  # noqa: SLF001
        reader = reader_of(context.context)
        document = reader.read(context.schema._schema, context.query or "")  # noqa: SLF001 - as Strawberry's own cache
        context.graphql_document = document.node
        # Strawberry reports these errors after it has checked the type of the operation.
        name = context._provided_operation_name  # noqa: SLF001 - the public one falls back to the first operation's name
        errors = context.pre_execution_errors = document.errors or ambiguity(document.node, name)
        if not errors:
            self._admit(reader, document)
        yield

    def _admit(self, reader: DocumentReader, document: Document) -> None:
        context = self.execution_context
        name = context._provided_operation_name  # noqa: SLF001
        refusals = reader.refusals(document, name, context.variables, principal_of(context.context))
        if refusals:
            context.pre_execution_errors = [*refusals]
            return
        try:
            cost = reader.check_cost(document, name, context.variables)
        except LimitExceededError as error:
            context.pre_execution_errors = [error]
            return
        self._cost = cost_extensions(context.context, context.operation_extensions, cost)

    def get_results(self) -> dict[str, Any]:
        """Return the cost of the operation, if the request asks for it."""
        return self._cost or {}


def cost_extensions(context: object, requested: Mapping[str, Any] | None, cost: int) -> dict[str, Any]:
    """Return the extensions of an answer: the cost of the operation, if those of its request ask for it."""
    if not requested or requested.get("cost") is not True:
        return {}
    return {"cost": {"value": cost, "max": reader_of(context).limits.request_max_cost}}


def ambiguity(document: DocumentNode, name: str | None) -> list[GraphQLError]:
    """Return the error of a request for one of several operations that does not name it; an empty list without one."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if len(operations) <= 1 or name is not None:
        return []
    problem = "The document has several operations: name the one to run in operationName"
    return [GraphQLError(problem, nodes=operations)]


def _persisted_hash(extensions: Mapping[str, Any] | None) -> str | None:
    persisted = (extensions or {}).get("persistedQuery")
    if not persisted:
        return None
    hash_ = persisted.get("sha256Hash") if isinstance(persisted, dict) else None
    return hash_ if isinstance(hash_, str) else ""


def _parse(query: str, limits: LimitSettings) -> DocumentNode | Callable[[], GraphQLError]:
    size = len(query.encode("utf-8", "surrogatepass"))
    if size > limits.document_max_bytes:
        return lambda: LimitExceededError("document bytes", size, limits.document_max_bytes)
    source = WeighedSource(query)
    tokens = limits.document_max_tokens
    try:
        node = parse(source, max_lexical_tokens=tokens, max_comments=tokens)
        source.weigh(node.token_count or 0)
        check_shape(node, limits)
    except ShapeError as error:
        exceeded = error.limit, error.value, error.maximum
        return lambda: LimitExceededError(*exceeded)
    except GraphQLError as error:
        message, positions = _message(error), error.positions
        if _TOO_MANY.search(message):
            return lambda: LimitExceededError("tokens", tokens + 1, tokens)
        return lambda: GraphQLError(message, source=source, positions=positions)
    except RecursionError:
        return lambda: GraphQLError(_TOO_DEEP)
    return node


def _validated(schema: GraphQLSchema, node: DocumentNode, *, hides_schema: bool) -> list[GraphQLError]:
    # An exception that a literal causes in the parser of its type is the client's error, as for a variable.
    try:
        rules = _HIDING_RULES if hides_schema else _RULES
        errors = validate(schema, node, rules, _MAX_ERRORS, hide_suggestions=hides_schema)
    except RecursionError:
        return [GraphQLError(_TOO_DEEP)]
    return [GraphQLError(_message(error), error.nodes) for error in errors]


def _message(error: GraphQLError) -> str:
    """Return a message for clients: some repeat a literal of the document, or give advice about Python."""
    return error.message.replace(_ADVICE, "")[:_MAX_MESSAGE]


def _weight(node: DocumentNode) -> int:
    source = None if node.loc is None else node.loc.source
    return source.weight if isinstance(source, WeighedSource) else 0
