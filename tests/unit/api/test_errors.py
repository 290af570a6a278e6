from __future__ import annotations

import pytest

from gql_api.api.errors import ApiError, ClientError, ConflictError, MutationRefusedError, TaskErrorCode
from gql_api.values import Problem


@pytest.mark.parametrize(("task_id", "text"), [("nope", "nope"), ("\ud800", "\\ud800")])
def test_an_unknown_id_has_one_text(task_id: str, text: str) -> None:
    """Queries and mutations report an unknown id in the same words, which UTF-8 can encode."""
    error, refused = ClientError.not_found(task_id), MutationRefusedError.not_found(task_id)
    assert str(error) == str(refused) == f"No task with id {text}"
    assert error.extensions == {"code": "NOT_FOUND"}
    assert [(refusal.code, refusal.field) for refusal in refused.refusals] == [(TaskErrorCode.NOT_FOUND, ["id"])]


def test_all_exceptions_have_one_root() -> None:
    """Code that calls the API's own functions can catch everything that they raise on purpose."""
    assert issubclass(ClientError, ApiError)
    assert issubclass(ConflictError, ClientError)
    assert issubclass(MutationRefusedError, ApiError)


@pytest.mark.parametrize(("too_large", "code"), [(True, "METADATA_TOO_LARGE"), (False, "INVALID_INPUT")])
def test_a_problem_is_a_refusal_with_its_path(too_large: bool, code: str) -> None:
    """The message begins with the path below the argument, and the field is the path from the argument on."""
    error = MutationRefusedError.for_problems([Problem(("metadata", "a", 0), "is bad", too_large)], "input")
    (refusal,) = error.refusals
    assert (refusal.code, refusal.message) == (code, "metadata.a.0: is bad")
    assert refusal.field == ["input", "metadata", "a", "0"]
