from __future__ import annotations

import importlib
import pkgutil

import pytest

from gql_api import api
from gql_api.api.errors import ApiError, ClientError, MutationRefusedError, TaskErrorCode
from gql_api.values import Problem


@pytest.mark.parametrize(("task_id", "text"), [("nope", "nope"), ("\ud800", "\\ud800")])
def test_an_unknown_id_has_one_text(task_id: str, text: str) -> None:
    """Queries and mutations report an unknown id in the same words, which UTF-8 can encode."""
    error, refused = ClientError.not_found(task_id), MutationRefusedError.not_found(task_id)
    assert str(error) == str(refused) == f"No task with id {text}"
    assert error.extensions == {"code": "NOT_FOUND"}
    assert [(refusal.code, refusal.field) for refusal in refused.refusals] == [(TaskErrorCode.NOT_FOUND, ["id"])]


_MODULES = [module.name for module in pkgutil.walk_packages(api.__path__, "gql_api.api.")]


@pytest.mark.parametrize("name", _MODULES)
def test_all_exceptions_have_one_root(name: str) -> None:
    """Code that calls the API's own functions can catch everything that they raise on purpose."""
    own = [kind for kind in vars(importlib.import_module(name)).values() if getattr(kind, "__module__", "") == name]
    errors = [kind for kind in own if isinstance(kind, type) and issubclass(kind, Exception)]
    assert [kind for kind in errors if not issubclass(kind, ApiError)] == []


@pytest.mark.parametrize(("too_large", "code"), [(True, "METADATA_TOO_LARGE"), (False, "INVALID_INPUT")])
def test_a_problem_is_a_refusal_with_its_path(too_large: bool, code: str) -> None:
    """The message begins with the path below the argument, and the field is the path from the argument on."""
    error = MutationRefusedError.for_problems([Problem(("metadata", "a", 0), "is bad", too_large)], "input")
    (refusal,) = error.refusals
    assert (refusal.code, refusal.message) == (code, "metadata.a.0: is bad")
    assert refusal.field == ["input", "metadata", "a", "0"]
