"""Strawberry's ASGI view as the API runs it: GraphQL over HTTP by its specification, and graphql-transport-ws.

Subscriptions over HTTP are in :mod:`gql_api.api.http.streaming`: Strawberry's event stream has line ends that urql
does not parse, and its multipart answers lack the boundary before the first part.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, cast

from cross_web import AsyncHTTPRequestAdapter, HTTPException
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData, GraphQLRequestProtocol
from strawberry.http.base import BaseRequestProtocol
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult, SubscriptionExecutionResult
from strawberry.types.graphql import OperationType

from gql_api.access.principal import ANONYMOUS
from gql_api.api.context import PRINCIPAL, Context, Services, context_of
from gql_api.api.errors import FORBIDDEN, QUOTA_EXCEEDED, ClientError, OverloadedError, QuotaExceededError
from gql_api.api.execution.encoding import encode
from gql_api.api.execution.operation import Operation, RefusedOperationError
from gql_api.api.http.bodies import check_large_body, release_body, retry_after
from gql_api.api.http.disconnects import DisconnectedError, unless_disconnected
from gql_api.api.http.negotiation import (
    EVENT_STREAM,
    JSON,
    RESPONSE_JSON,
    accept_of,
    media_type_for,
    stream_type_for,
)
from gql_api.api.http.stream_formats import FORMATS
from gql_api.api.http.streaming import StreamedResponse
from gql_api.api.pages.requests import opens_page
from gql_api.api.pages.serving import Pages
from gql_api.api.schema.build import schema
from gql_api.api.store.slots import one_requester
from gql_api.api.subscriptions.admission import Admission
from gql_api.api.websocket.authentication import admits_handshake
from gql_api.api.websocket.handler import TransportHandler
from gql_api.api.websocket.transport import call_at_end
from gql_api.limits import LimitSettings
from gql_api.settings import Settings

OPERATION = "gql_api.operation"
"""The key of the scope of a request for the name of its operation, which a log may print."""

_OK, _BAD_REQUEST, _FORBIDDEN, _METHOD_NOT_ALLOWED, _TOO_MANY, _UNAVAILABLE = 200, 400, 403, 405, 429, 503
# As nginx calls it: nobody receives the answer, and the metrics show the status.
_CLIENT_CLOSED_REQUEST = 499
_NO_OPERATION = "The request does not name an operation to run"
_NO_STREAM = (
    "A subscription needs a WebSocket with the subprotocol graphql-transport-ws, or a request that accepts "
    'text/event-stream or multipart/mixed;subscriptionSpec="1.0"'
)


@dataclass
class _RequestData(GraphQLRequestData):
    """The parameters of a request, with the id of a document that the API may know."""

    document_id: str | None = None


class GraphQLView(GraphQL[Context, None]):
    """The view of ``/graphql``. It takes the services from the application that received the request.

    Follows the GraphQL over HTTP specification (https://graphql.github.io/graphql-over-http/draft/): a client that
    accepts ``application/graphql-response+json`` gets it, with a 4xx status and no ``data`` when the request could not
    be executed; other clients get a 200 for every well-formed GraphQL answer.
    """

    graphql_transport_ws_handler_class = TransportHandler

    def __init__(self, settings: Settings, pages: Pages | None = None) -> None:
        self._pages = pages if pages is not None and pages.options.has_playground else None
        self.limits: LimitSettings = settings
        self._production = settings.production
        self._admission = Admission("connections", settings.connections_max, settings.connections_per_address)
        super().__init__(
            schema,
            graphql_ide=None,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            connection_init_wait_timeout=timedelta(seconds=settings.connection_init_seconds),
            max_subscriptions_per_connection=settings.operations_per_socket,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; a rejected one gets a GraphQL error too."""
        with one_requester(scope.get(PRINCIPAL, ANONYMOUS)):
            if scope["type"] != "http":
                await self._admit(self._serve_socket, scope, receive, send)
                return
            request = Request(scope, receive)
            if self._pages is not None and opens_page(scope):
                response = await self._pages.playground(request)
                await response(scope, receive, send)
                return
            try:
                response = await self.run(request)
            except HTTPException as error:
                response = error_response(request, error)
            if isinstance(response, StreamedResponse):
                release_body(request)
                await self._admit(response, scope, receive, send)
            else:
                await response(scope, receive, send)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        services: Services = scope["app"].state.services
        if await admits_handshake(scope, receive, send, services.authenticator):
            await super().__call__(scope, receive, send)

    async def _admit(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket or a streamed answer if there is room for it."""
        host = (scope.get("client") or ("",))[0]
        try:
            self._admission.enter(host)
        except OverloadedError as error:
            await _refusal(error)(scope, receive, send)
            return
        try:
            await app(scope, receive, send)
        finally:
            call_at_end(scope, functools.partial(self._admission.leave, host))

    def is_websocket_origin_allowed(self, request: WebSocket, origin: str) -> bool:  # noqa: ARG002 - see below
        """Allow every origin: the guard of the application has refused all that may not use the API."""
        return True

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """Return the context of one request."""
        return context_of(request, response)

    async def get_sub_response(self, request: Request | WebSocket) -> Response:
        """Return a response with the media type that the client accepts, for :meth:`create_response` has no request."""
        response = await super().get_sub_response(request)
        response.media_type = media_type_for(accept_of(request.headers))
        return response

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData:
        """Parse the parameters of a request: a JSON object in the body, or the query string."""
        if request.method == "GET":
            parameters: Any = self.parse_query_params(request.query_params)
        elif (request.content_type or "").partition(";")[0].strip().lower() == "application/json":
            parameters = self.parse_json(await request.get_body())
        else:
            raise HTTPException(415, "The body must be application/json")
        if not isinstance(parameters, dict):
            raise HTTPException(400, "The request must be one JSON object")
        return _RequestData(
            query=_parameter(parameters, "query", str),
            variables=_parameter(parameters, "variables", dict),
            operation_name=_parameter(parameters, "operationName", str),
            extensions=_parameter(parameters, "extensions", dict),
            document_id=_parameter(parameters, "documentId", str),
        )

    def is_request_allowed(self, request: BaseRequestProtocol) -> bool:
        """Reject all methods but GET and POST.

        The others include the reservations of GraphQL over SSE in single connection mode, which is not supported.
        """
        if request.method not in {"GET", "POST"}:
            raise HTTPException(405, "Use GET or POST; GraphQL over SSE is supported in distinct connections mode only")
        return True

    def should_render_graphql_ide(self, request: BaseRequestProtocol) -> bool:  # noqa: ARG002 - see below
        """Run operations only: the playground is a page of our own."""
        return False

    async def execute_operation(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        request_data: GraphQLRequestData | list[GraphQLRequestData],
        context: Context,
        root_value: None,
        sub_response: Response,
    ) -> ExecutionResult | list[ExecutionResult] | SubscriptionExecutionResult:
        """Run one operation: mutations only by POST, subscriptions only for clients that accept a stream."""
        assert isinstance(request_data, _RequestData)  # noqa: S101 - what parse_http_body returns
        documents = context.documents
        try:
            query = documents.requested(request_data.query, request_data.extensions, request_data.document_id)
        except ClientError as refusal:
            return ExecutionResult(data=None, errors=[refusal])
        node = documents.operation(query or "", request_data.operation_name)
        check_large_body(request.scope, self.limits, node)
        request.scope[OPERATION] = None if node is None or node.name is None else node.name.value
        operation = Operation(query or "", request_data.variables, request_data.operation_name)
        if node is not None and node.operation.value == "subscription":
            # Otherwise an error would be counted twice, by the schema and by the stream.
            return _streamed(request, operation, context)
        is_mutation = node is not None and node.operation.value == "mutation"
        try:
            executing = self.schema.execute(
                query,
                root_value=root_value,
                variable_values=request_data.variables,
                context_value=context,
                operation_name=request_data.operation_name,
                allowed_operation_types=self._allowed_types(request_adapter.method),
                operation_extensions=request_data.extensions,
            )
            # The changes of a mutation are wanted, even if its client does not wait for the answer.
            return await (executing if is_mutation else unless_disconnected(request.receive, executing))
        except DisconnectedError as error:
            raise client_closed() from error
        except MissingQueryError as error:
            raise HTTPException(_BAD_REQUEST, _NO_OPERATION) from error
        except CannotGetOperationTypeError as error:
            if sub_response.media_type in FORMATS:
                return ExecutionResult(data=None, errors=[GraphQLError(_NO_OPERATION)])
            raise HTTPException(_BAD_REQUEST, _NO_OPERATION) from error
        except InvalidOperationTypeError as error:
            if error.operation_type is OperationType.MUTATION:
                raise HTTPException(405, "A mutation must be sent by POST") from error
            if error.operation_type is OperationType.QUERY:
                raise HTTPException(405, "In production, a query must be sent by POST") from error
            return _streamed(request, operation, context)

    def _allowed_types(self, method: str) -> set[OperationType]:
        if method == "POST":
            return {OperationType.QUERY, OperationType.MUTATION}
        return set() if self._production else {OperationType.QUERY}

    async def _create_streaming_response(
        self,
        request: Request,
        result: SubscriptionExecutionResult,
        protocol: GraphQLRequestProtocol,  # noqa: ARG002 - Strawberry's guess; `Accept` decides
        sub_response: Response,
    ) -> Response:
        """Return a response that streams the results in the format that the client prefers."""
        stream_format = FORMATS[stream_type_for(accept_of(request.headers)) or EVENT_STREAM]
        context = context_of(request, sub_response)
        results = cast(AsyncGenerator[bytes, None], result)
        return StreamedResponse(results, stream_format, context.principal, context.services.revocations)

    async def process_result(
        self,
        request: Request,  # noqa: ARG002 - Strawberry's interface
        result: ExecutionResult,
    ) -> GraphQLHTTPResponse:
        """Return the answer."""
        return cast("GraphQLHTTPResponse", answer_of(result))

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: Response
    ) -> Response:
        """Return the answer in the media type that the client accepts, with the status that goes with it."""
        media_type = sub_response.media_type
        if media_type in FORMATS:
            stream_format = FORMATS[media_type]
            body = stream_format.opening + stream_format.format_result(encode(response_data)) + stream_format.end
            return Response(body, headers=stream_format.headers)
        response = super().create_response(response_data, sub_response)
        response.headers["content-type"] = f"{media_type}; charset=utf-8"
        response.status_code, headers = head_of(cast("dict[str, Any]", response_data), media_type or JSON)
        response.headers.update(headers)
        return response

    def decode_json(self, data: str | bytes) -> object:
        """Parse JSON strictly: Python's default parser also accepts ``NaN``.

        Raises:
            JSONDecodeError: the text is not JSON, is nested too deeply, or has a number that is too long.
        """
        try:
            # json.loads with parse_constant creates a decoder on each call, which is too slow for frames.
            value: object = (
                DECODER.decode(data) if isinstance(data, str) else json.loads(data, parse_constant=_reject_constant)
            )
        except json.JSONDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error
        return value

    def encode_json(self, data: object) -> str:
        """Encode a value as JSON."""
        return encode(data).decode()


def answer_of(result: ExecutionResult) -> dict[str, Any]:
    """Return the answer, without ``data`` when nothing was executed, which is when no error has a path."""
    errors = result.errors
    if not errors:
        answer: dict[str, Any] = {"data": result.data}
    elif result.data is None and not any(error.path for error in errors):
        answer = {"errors": [error.formatted for error in errors]}
    else:
        answer = {"data": result.data, "errors": [error.formatted for error in errors]}
    if result.extensions:
        answer["extensions"] = result.extensions
    return answer


def head_of(answer: Mapping[str, Any], media_type: str) -> tuple[int, dict[str, str]]:
    """Return the status of an answer, and the headers that its errors ask for."""
    errors = answer.get("errors")
    if not errors:
        return _OK, {}
    retry = retry_after(errors)
    if retry and answer.get("data") is None:
        return (_TOO_MANY if any(map(_exceeds_quota, errors)) else _UNAVAILABLE), retry
    if media_type == RESPONSE_JSON and "data" not in answer:
        is_forbidden = all((each.get("extensions") or {}).get("code") == FORBIDDEN for each in errors)
        return (_FORBIDDEN if is_forbidden else _BAD_REQUEST), retry
    return _OK, retry


def error_response(request: Request, error: HTTPException) -> Response:
    """Return the answer to a request that is not a GraphQL request, or has the wrong method."""
    media_type = media_type_for(accept_of(request.headers))
    allow = {"Allow": "POST" if request.method == "GET" else "GET, POST"}
    return Response(
        encode({"errors": [{"message": error.reason}]}),
        status_code=error.status_code,
        headers=allow if error.status_code == _METHOD_NOT_ALLOWED else None,
        media_type=JSON if media_type in FORMATS else media_type,
    )


def client_closed() -> HTTPException:
    """Return the error of a request whose client has disconnected."""
    return HTTPException(_CLIENT_CLOSED_REQUEST, "The client has disconnected")


def _exceeds_quota(error: Mapping[str, Any]) -> bool:
    return bool(error.get("extensions", {}).get("code") == QUOTA_EXCEEDED)


def _refusal(error: OverloadedError) -> Response:
    formatted: dict[str, Any] = dict(error.formatted)
    headers = retry_after([formatted])
    return Response(encode({"errors": [formatted]}), _UNAVAILABLE, headers, JSON)


def _streamed(request: Request, operation: Operation, context: Context) -> SubscriptionExecutionResult:
    if stream_type_for(accept_of(request.headers)) is None:
        raise HTTPException(400, _NO_STREAM)
    # Strawberry's protocol fits an asynchronous generator, whose __anext__ mypy declares differently.
    return cast(SubscriptionExecutionResult, _results(operation, context))


async def _results(operation: Operation, context: Context) -> AsyncGenerator[bytes, None]:
    """Yield the results of a subscription; an operation that cannot be executed has one result, its errors."""
    executions = context.services.executions
    try:
        async with contextlib.aclosing(executions.subscribe(operation, context, context.principal)) as results:
            async for result in results:
                yield result
    except RefusedOperationError as error:
        yield b'{"errors":%b}' % error.errors
    except (OverloadedError, QuotaExceededError) as error:
        yield encode({"errors": [error.formatted]})


def _parameter(parameters: dict[str, Any], name: str, kind: type) -> Any:
    value = parameters.get(name)
    if value is not None and not isinstance(value, kind):
        expected = "a string" if kind is str else "an object"
        raise HTTPException(400, f"{name} must be {expected} or null")
    return value


def _reject_constant(constant: str) -> NoReturn:
    raise json.JSONDecodeError(f"{constant} is not JSON", constant, 0)


DECODER = json.JSONDecoder(parse_constant=_reject_constant)
"""A strict decoder: Python's own also accepts ``NaN``."""
