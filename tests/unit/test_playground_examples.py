"""The operations that the playground shows at the first visit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from graphql.execution.values import get_variable_values
from support import ROOT

from gql_api.api.execution.documents import DEFAULT_READER
from gql_api.api.schema.build import schema
from gql_api.worker import bundled

_SCHEMA = schema._schema  # noqa: SLF001 - as Strawberry's own integrations do
_EXAMPLES = sorted((ROOT / "web" / "src" / "playground" / "examples").glob("*.graphql"))


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_ready_to_run(path: Path) -> None:
    """The operations are valid, within the limits, and have all their variables."""
    document = DEFAULT_READER.read(_SCHEMA, path.read_text())
    assert document.errors == []
    variables: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    for name in document.operations:
        operation = document.operation(name)
        assert operation
        assert not isinstance(get_variable_values(_SCHEMA, operation.variable_definitions or (), variables), list)
        assert DEFAULT_READER.check_cost(document, name, variables) > 0
    assert None not in document.operations


def test_the_examples_create_a_bundled_task_and_find_it() -> None:
    """Without tasks of one's own, the first example creates a task that the second one lists."""
    create, list_ = (json.loads((_EXAMPLES[0].parent / f"{name}.json").read_text()) for name in ("create", "list"))
    assert create["input"]["name"] == bundled.long_running_task.name
    (condition,) = list_["filter"]["metadata"]
    assert create["input"]["metadata"][condition["path"]] == condition["eq"]
    assert len(_EXAMPLES) == 4
