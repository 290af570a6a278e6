"""Three REST endpoints over the same schema: each runs a stored GraphQL document and does nothing else.

``POST /create-task`` with ``{"task_input": ..., "metadata_1": ..., "metadata_2": ...}``, ``GET /task/{id}`` and
``GET /tasks``.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gql_api.api.context import context_of
from gql_api.api.errors import (
    CONFLICT,
    FORBIDDEN,
    INTERNAL,
    INVALID_RECORD,
    OVERLOADED,
    QUERY_TIMEOUT,
    QUOTA_EXCEEDED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    ApiError,
)
from gql_api.api.execution.encoding import encode
from gql_api.api.http.bodies import retry_after
from gql_api.api.schema.build import schema
from gql_api.api.store.slots import one_requester

_CREATE = """
mutation ($input: CreateTaskInput!) { createTask(input: $input) { task { id } userErrors { code message field } } }
"""
_TASK = "query ($id: ID!) { task(id: $id) { id status result metadata error { type message } } }"
_TASKS = """
query ($first: Int, $after: String) {
  tasks(first: $first, after: $after) { nodes { id status result metadata } pageInfo { hasNextPage endCursor } }
}
"""
_TASK_NAME = "long_running_task"
_MAX_DIGITS = 10
# An error without a code is about a variable.
_STATUSES: dict[str | None, int] = {
    UNAUTHENTICATED: 401,
    FORBIDDEN: 403,
    CONFLICT: 409,
    INTERNAL: 500,
    INVALID_RECORD: 500,
    OVERLOADED: 503,
    QUERY_TIMEOUT: 503,
    QUOTA_EXCEEDED: 429,
    UNAVAILABLE: 503,
}


class _DocumentError(ApiError):
    """A stored document failed; ``response`` reports the error to the client."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


async def create_task(request: Request) -> Response:
    """Create the bundled task and return its id; the fields of the body beside ``task_input`` are its metadata."""
    # A form of any web page can send the other types without a preflight request.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return _error(415, "The body must be application/json")
    try:
        body = json.loads(await request.body(), parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return _error(400, "The body must be JSON")
    if not isinstance(body, dict) or "task_input" not in body:
        return _error(400, "The body must be a JSON object with a task_input")
    task_input = body.pop("task_input")
    create_input = {"name": _TASK_NAME, "kwargs": {"task_input": task_input}, "metadata": body}
    payload = (await _run(request, _CREATE, input=create_input))["createTask"]
    if payload["userErrors"]:
        return _json({"errors": payload["userErrors"]}, 422)
    return _json(payload["task"]["id"])


async def task(request: Request) -> Response:
    """Return the status and the result of a task."""
    found = (await _run(request, _TASK, id=request.path_params["id"]))["task"]
    if found is None:
        return _error(404, "There is no such task")
    return _json(_with_task_id(found))


async def tasks(request: Request) -> Response:
    """Return tasks with their metadata, newest first; a ``Link`` header has the next page (RFC 8288)."""
    first, after = request.query_params.get("first", "20"), request.query_params.get("after")
    # Int rejects larger numbers, and int() those of thousands of digits.
    if not first.isdecimal() or len(first) > _MAX_DIGITS:
        return _error(400, "first must be a number")
    page = (await _run(request, _TASKS, first=int(first), after=after))["tasks"]
    response = _json([_with_task_id(node) for node in page["nodes"]])
    if page["pageInfo"]["hasNextPage"]:
        # Relative to the request: the Host header comes from the client, and a proxy may remove a part of the path.
        query = urlencode({"first": first, "after": page["pageInfo"]["endCursor"]})
        response.headers["Link"] = f'<?{query}>; rel="next"'
    return response


async def _run(request: Request, document: str, **variables: Any) -> dict[str, Any]:
    response = Response()
    context = context_of(request, response)
    with one_requester(context.principal):
        result = await schema.execute(document, variable_values=variables, context_value=context)
    if result.errors:
        error = result.errors[0]
        code = (error.extensions or {}).get("code")
        failed = _error(_STATUSES.get(code, 400), error.message)
        failed.headers.update(retry_after([{"extensions": error.extensions or {}}]))
        raise _DocumentError(failed)
    return result.data or {}


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _with_task_id(node: dict[str, Any]) -> dict[str, Any]:
    return {"task_id": node["id"], **{name: value for name, value in node.items() if name != "id"}}


def _json(content: object, status: int = 200) -> Response:
    return Response(encode(content), status, media_type="application/json")


def _error(status: int, message: str) -> Response:
    return _json({"errors": [{"message": message}]}, status)


def document_error(_request: Request, error: Exception) -> Response:
    """Return the response of an error that :func:`_run` raised."""
    if not isinstance(error, _DocumentError):
        raise error
    return error.response


ROUTES = [
    Route("/create-task", create_task, methods=["POST"]),
    Route("/task/{id}", task),
    Route("/tasks", tasks),
]
EXCEPTION_HANDLERS = {_DocumentError: document_error}
