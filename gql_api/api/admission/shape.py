"""The shape of a document: how deep and how large it is, counted before it is validated.

graphql-core's validation compares each two fields that share a key at one place, which takes a second for a document
of 2,000 tokens. Strawberry's own limiters are validation rules, so that they would run with the others; they count no
fragment that is used twice, and no fields. These counts follow fragments, and end where a limit is exceeded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
)

from gql_api.api.errors import ApiError
from gql_api.limits import LimitSettings

_INTROSPECTION = frozenset({"__schema", "__type"})
# Each of these fields reads by itself, so that the budget of bytes counts what each of its aliases reads.
_READS = frozenset({"children", "facet", "logs", "parent", "replayOf"})
_BULK = frozenset({"createTasks", "cancelTasks", "replayTasks", "deleteTasks"})
Path = tuple[str, ...]


class ShapeError(ApiError):
    """A count that exceeds its limit."""

    def __init__(self, limit: str, value: int, maximum: int) -> None:
        super().__init__(limit, value, maximum)
        self.limit = limit
        self.value = value
        self.maximum = maximum


class _Place(NamedTuple):
    """A place in the answer.

    ``read`` is the place of the field that reads the object, ``names`` are the fields from there: the same names mean
    the same value of it, whatever the aliases are.
    """

    path: Path = ()
    depth: int = 0
    in_introspection: bool = False
    read: Path = ()
    names: Path = ()

    def below(self, field: FieldNode) -> _Place:
        """Return the place of a field."""
        name = field.name.value
        path = (*self.path, (field.alias or field.name).value)
        inside = self.in_introspection or name in _INTROSPECTION
        if self.depth == 0 or name in _READS:
            return _Place(path, self.depth + 1, inside, path)
        # The task of an edge is the node beside it.
        names = self.names if name == "edges" else (*self.names, "nodes" if name == "node" else name)
        return _Place(path, self.depth + 1, inside, self.read, names)


def check_shape(document: DocumentNode, limits: LimitSettings) -> None:
    """Check what can be counted without a schema.

    Raises:
        ShapeError: the document exceeds a limit.
    """
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    definitions = [node for node in document.definitions if isinstance(node, FragmentDefinitionNode)]
    fragments = {node.name.value: node for node in definitions}
    _allow("operations", len(operations), limits.document_max_operations)
    _allow("fragments", len(definitions), limits.document_max_fragments)
    for operation in operations:
        root_fields = _Counts(operation, fragments, limits).check()
        if operation.operation is OperationType.MUTATION:
            _allow("mutations", len(root_fields), limits.request_max_mutations)
            bulk = sum(name in _BULK for name in root_fields)
            _allow("bulk mutations", bulk, limits.request_max_bulk_mutations)
    # Validation also examines fragments that no operation uses, and several fragments of one name.
    for fragment in definitions:
        _Counts(fragment, fragments, limits).check()


def is_nested_deeper(value: Any, levels: int) -> bool:
    """Return whether a JSON value has more than some levels of objects and arrays."""
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return False
    if levels == 0:
        return True
    for item in value:  # noqa: SIM110 - a generator takes longer than the check of most values
        if (type(item) is dict or type(item) is list) and is_nested_deeper(item, levels - 1):
            return True
    return False


def is_introspection(document: DocumentNode) -> bool:
    """Return whether all operations of a document read nothing but the schema."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    roots = [node for operation in operations for node in operation.selection_set.selections]
    return bool(roots) and all(
        isinstance(node, FieldNode) and node.name.value in {*_INTROSPECTION, "__typename"} for node in roots
    )


class _Counts:
    """The counts of one operation, or of one fragment for itself; each use of a fragment counts."""

    def __init__(
        self,
        root: OperationDefinitionNode | FragmentDefinitionNode,
        fragments: dict[str, FragmentDefinitionNode],
        limits: LimitSettings,
    ) -> None:
        self._root = root
        self._fragments = fragments
        self._limits = limits
        self._spreads = 0
        self._directives = 0
        self._introspections = 0

    def check(self) -> list[str]:
        """Check the counts, and return the names of the fields at the root.

        Raises:
            ShapeError: a count exceeds its limit.
        """
        limits = self._limits
        keys: Counter[Path] = Counter()
        copies: Counter[tuple[Path, Path]] = Counter()
        aliases = pairs = 0
        root_fields = []
        self._count_directives(self._root)
        for number, (field, place) in enumerate(self._walk(), 1):
            _allow("fields", number, limits.document_max_fields)
            if place.in_introspection:
                _allow("introspection depth", place.depth, limits.introspection_max_depth)
            else:
                _allow("depth", place.depth, limits.document_max_depth)
            aliases += field.alias is not None
            _allow("aliases", aliases, limits.document_max_aliases)
            if field.selection_set is None and place.path not in keys and place.names:
                copies[place.read, place.names] += 1
                _allow("copies of one value", copies[place.read, place.names], limits.document_max_copies)
            pairs += keys[place.path]
            keys[place.path] += 1
            _allow("pairs of fields with the same key", pairs, limits.document_max_pairs)
            if place.depth == 1:
                root_fields.append(field.name.value)
        return root_fields

    def _walk(self) -> Iterator[tuple[FieldNode, _Place]]:
        """Yield each field with its place."""
        # A stack of iterators, not recursion: the nesting is what has to be limited.
        root = self._root
        inside = isinstance(root, FragmentDefinitionNode) and root.type_condition.name.value.startswith("__")
        # The fields of a fragment alone have an object above them.
        depth = int(isinstance(root, FragmentDefinitionNode))
        stack: list[tuple[Iterator[object], _Place, frozenset[str]]] = [
            (iter(root.selection_set.selections), _Place(depth=depth, in_introspection=inside), frozenset())
        ]
        while stack:
            nodes, place, open_fragments = stack[-1]
            node = next(nodes, None)
            if node is None:
                stack.pop()
            elif isinstance(node, FieldNode):
                self._count_directives(node)
                if node.name.value in _INTROSPECTION:
                    self._introspections += 1
                    _allow("introspection fields", self._introspections, self._limits.introspection_max_fields)
                below = place.below(node)
                yield node, below
                if node.selection_set is not None:
                    stack.append((iter(node.selection_set.selections), below, open_fragments))
            else:
                self._count_directives(node)
                inner, opened = self._fragment(node, open_fragments)
                if inner is not None:
                    stack.append((iter(inner.selections), place, opened))

    def _fragment(self, node: object, opened: frozenset[str]) -> tuple[SelectionSetNode | None, frozenset[str]]:
        """Return the selections of a fragment where it is used, and the fragments that are open within it."""
        # A fragment without fields costs the walk as much as one with a field.
        self._spreads += 1
        _allow("uses of fragments", self._spreads, self._limits.document_max_fields)
        if not isinstance(node, FragmentSpreadNode):
            return getattr(node, "selection_set", None), opened
        name = node.name.value
        fragment = self._fragments.get(name)
        # Validation reports an unknown fragment, and a circle.
        if fragment is None or name in opened:
            return None, opened
        return fragment.selection_set, opened | {name}

    def _count_directives(self, node: object) -> None:
        self._directives += len(getattr(node, "directives", None) or ())
        _allow("directives", self._directives, self._limits.document_max_directives)


def _allow(limit: str, value: int, maximum: int) -> None:
    if value > maximum:
        raise ShapeError(limit, value, maximum)
