from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from graphql import GraphQLInputObjectType, build_schema, get_nullable_type, is_leaf_type
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON_VALUES, OBJECTS
from strawberry.types.arguments import convert_argument
from strawberry.types.base import StrawberryObjectDefinition

from gql_api.api.schema.build import schema
from gql_api.api.schema.payloads import CreateTaskInput

_DEFINITION: StrawberryObjectDefinition = vars(CreateTaskInput)["__strawberry_definition__"]
_REGISTRY = schema.schema_converter.scalar_registry
_TEXTS = st.text(max_size=5)
_VALUES = st.fixed_dictionaries(
    {"name": _TEXTS},
    optional={
        "args": st.none() | JSON_VALUES,
        "kwargs": st.none() | OBJECTS,
        "metadata": st.none() | OBJECTS,
        "idempotencyKey": st.none() | _TEXTS,
        "scheduledFor": st.none() | st.just(datetime(2030, 1, 1, tzinfo=UTC)),
        "delaySeconds": st.none() | st.floats(),
        "expiresInSeconds": st.none() | st.floats(),
        "priority": st.none() | st.integers(),
        "queue": st.none() | _TEXTS,
        "timeLimitSeconds": st.none() | st.floats(),
        "parentId": st.none() | _TEXTS,
    },
)


@given(_VALUES)
def test_an_input_is_the_one_that_strawberry_builds(value: dict[str, Any]) -> None:
    """Whatever fields the caller gives, the input has them, and the defaults of all others."""

    def built() -> Any:
        made = convert_argument(value, CreateTaskInput, _REGISTRY, schema.config)
        assert isinstance(made, CreateTaskInput)
        return {name: (type(item), repr(item)) for name, item in vars(made).items()}

    fast = built()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_DEFINITION, "from_input", None)
        assert fast == built()


def test_its_fields_are_leaves() -> None:
    """A list, and an input in the input, would not be converted. The test above knows all fields."""
    found = build_schema(schema.as_str()).type_map["CreateTaskInput"]
    assert isinstance(found, GraphQLInputObjectType)
    assert [name for name, field in found.fields.items() if not is_leaf_type(get_nullable_type(field.type))] == []
    assert len(found.fields) == 12
