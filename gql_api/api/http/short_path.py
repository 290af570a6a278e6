"""The short path of ordinary requests, JSON POSTs with known documents, without Starlette's and Strawberry's views.

The preparations of the views take longer than most operations. The short path answers a request only when nothing is
unusual about it, with the parts that the view has: it passes all other requests on, with their bodies. So documents are
parsed, validated and refused by the view, which also serves streams and reports what is wrong with a request. A test
compares the answers of both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from graphql import OperationDefinitionNode, OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from strawberry.types import ExecutionResult

from gql_api.api.context import Context, Services, context_of
from gql_api.api.errors import ClientError
from gql_api.api.execution import direct
from gql_api.api.execution.documents import Document
from gql_api.api.execution.encoding import encode
from gql_api.api.execution.operation import Operation
from gql_api.api.http.bodies import check_large_body
from gql_api.api.http.disconnects import DisconnectedError, unless_disconnected
from gql_api.api.http.negotiation import media_type_for
from gql_api.api.http.stream_formats import FORMATS
from gql_api.api.http.view import DECODER, OPERATION, answer_of, client_closed, error_response, head_of
from gql_api.api.schema.build import schema
from gql_api.api.store.budget import one_answer
from gql_api.api.store.slots import one_requester
from gql_api.limits import LimitSettings
from gql_api.telemetry.watchdog import label_task

_SCHEMA = schema._schema  # noqa: SLF001 - as Strawberry's own integrations do
_PATH = "/graphql"
_JSON = b"application/json"
# Of a larger body the view's own time is a small part, and its parsing is not done twice.
_MAX_BYTES = 64 * 1024
_PARAMETERS = {"query": str, "variables": dict, "operationName": str, "extensions": dict, "documentId": str}


class _Call(NamedTuple):
    """An operation that a request runs, of a document that is known."""

    document: Document
    node: OperationDefinitionNode
    operation: Operation
    extensions: dict[str, Any] | None


class ShortPath:
    """Middleware that answers ordinary requests, and passes all others on.

    Args:
        app: the application behind it.
        limits: the limits of requests.
    """

    def __init__(self, app: ASGIApp, limits: LimitSettings) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "http" and scope["method"] == "POST" and _path(scope) == _PATH:
            media_type = _media_type(scope)
            if media_type is not None:
                body = await _body(receive)
                call = _call(scope["app"].state.services, body) if len(body) <= _MAX_BYTES else None
                if call is not None:
                    await self._answer(call, media_type, scope, receive, send)
                    return
                receive = _again([body], receive)
                del body  # that of a stream is released
        await self._app(scope, receive, send)

    async def _answer(self, call: _Call, media_type: str, scope: Scope, receive: Receive, send: Send) -> None:
        check_large_body(scope, self._limits, call.node)
        scope[OPERATION] = None if call.node.name is None else call.node.name.value
        request = Request(scope, receive)
        context = context_of(request)
        try:
            with one_requester(context.principal), one_answer():
                result = await _result(call, context, receive)
        except DisconnectedError:
            await error_response(request, client_closed())(scope, receive, send)
            return
        answer = answer_of(result)
        body = encode(answer)
        status, headers = head_of(answer, media_type)
        raw = [(b"content-length", b"%d" % len(body)), (b"content-type", b"%b; charset=utf-8" % media_type.encode())]
        raw += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


async def _result(call: _Call, context: Context, receive: Receive) -> ExecutionResult:
    label_task(call.operation.name)
    executing = direct.run(_SCHEMA, call.document, call.operation, context, call.extensions)
    # The changes of a mutation are wanted, even if its client does not wait for the answer.
    is_mutation = call.node.operation is OperationType.MUTATION
    return await (executing if is_mutation else unless_disconnected(receive, executing))


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _media_type(scope: Scope) -> str | None:
    """Return the media type of the answer to a request with a JSON body; None for others, and for streams."""
    content_type, accept = None, b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value if content_type is None else content_type
        elif name == b"accept":
            accept = accept + b", " + value if accept else value
    if content_type is None or (content_type != _JSON and content_type.partition(b";")[0].strip().lower() != _JSON):
        return None
    media_type = media_type_for(accept.decode("latin-1"))
    return None if media_type in FORMATS else media_type


async def _body(receive: Receive) -> bytes:
    """Read the body of a request.

    Raises:
        ClientDisconnect: the client has disconnected before its end.
    """
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _again(bodies: list[bytes], receive: Receive) -> Receive:
    """Return a function that returns the body of a request once more, and then what follows."""

    async def receive_again() -> Message:
        return {"type": "http.request", "body": bodies.pop(), "more_body": False} if bodies else await receive()

    return receive_again


def _call(services: Services, body: bytes) -> _Call | None:
    """Return the operation that a request runs; None if anything about it is unusual."""
    try:
        parameters = DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        return None
    if type(parameters) is not dict:
        return None
    values = [parameters.get(name) for name in _PARAMETERS]
    for value, kind in zip(values, _PARAMETERS.values(), strict=True):
        if value is not None and type(value) is not kind:
            return None
    query, variables, name, extensions, document_id = values
    try:
        text = services.documents.requested(query, extensions, document_id)
    except ClientError:
        return None
    document = services.documents.known(_SCHEMA, text) if text else None
    node = None if document is None else document.operation(name)
    if not text or document is None or node is None or node.operation is OperationType.SUBSCRIPTION:
        return None
    return _Call(document, node, Operation(text, variables, name), extensions)
