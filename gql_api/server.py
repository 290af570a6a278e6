"""Strawberry's ASGI server as we run it: GraphQL over HTTP by its specification, and graphql-transport-ws."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, NoReturn

from cross_web import AsyncHTTPRequestAdapter, HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from gql_api.context import Context, context_of
from gql_api.encoding import encode
from gql_api.negotiation import RESPONSE_JSON, media_type_for
from gql_api.schema import schema
from gql_api.websocket import TransportHandler

_INIT_TIMEOUT = timedelta(seconds=5)
_SUBSCRIPTIONS_PER_CONNECTION = 20
_METHOD_NOT_ALLOWED = 405


class GraphQLServer(GraphQL[Context, None]):
    """Answers ``/graphql``. The services are those of the application that the request came to.

    Follows the GraphQL over HTTP specification (https://graphql.github.io/graphql-over-http/draft/): a client that
    accepts ``application/graphql-response+json`` gets it, and then a request that could not be executed has a 4xx
    status and no ``data``; to others a well-formed GraphQL answer is a 200.
    """

    graphql_transport_ws_handler_class = TransportHandler

    def __init__(self) -> None:
        super().__init__(
            schema,
            graphql_ide="graphiql",
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            connection_init_wait_timeout=_INIT_TIMEOUT,
            max_subscriptions_per_connection=_SUBSCRIPTIONS_PER_CONNECTION,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and answer what is refused in the form of a GraphQL error too."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self.run(request)
        except HTTPException as refusal:
            response = self._refusal(request, refusal)
        await response(scope, receive, send)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """Make the context of one request."""
        return context_of(request, response)

    async def get_sub_response(self, request: Request | WebSocket) -> Response:
        """Note what the client accepts, for the answer is made without the request at hand."""
        response = await super().get_sub_response(request)
        response.media_type = media_type_for(request.headers.get("accept", ""))
        return response

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData:
        """Read the parameters of a request: a JSON object in the body, or the query string."""
        if request.method == "GET":
            parameters: Any = self.parse_query_params(request.query_params)
        elif (request.content_type or "").partition(";")[0].strip().lower() == "application/json":
            parameters = self.parse_json(await request.get_body())
        else:
            raise HTTPException(415, "The body must be application/json")
        if not isinstance(parameters, dict):
            raise HTTPException(400, "The request must be one JSON object")
        return GraphQLRequestData(
            query=_parameter(parameters, "query", str),
            variables=_parameter(parameters, "variables", dict),
            operation_name=_parameter(parameters, "operationName", str),
            extensions=_parameter(parameters, "extensions", dict),
        )

    async def execute_single(
        self,
        request: Request,  # noqa: ARG002 - Strawberry's signature
        request_adapter: AsyncHTTPRequestAdapter,
        sub_response: Response,  # noqa: ARG002 - the same
        context: Context,
        root_value: None,
        request_data: GraphQLRequestData,
    ) -> ExecutionResult:
        """Run one operation, of the kinds that plain HTTP carries: mutations only by POST, no subscriptions."""
        mutations = {OperationType.MUTATION} if request_adapter.method == "POST" else set[OperationType]()
        try:
            return await self.schema.execute(
                request_data.query,
                root_value=root_value,
                variable_values=request_data.variables,
                context_value=context,
                operation_name=request_data.operation_name,
                allowed_operation_types={OperationType.QUERY} | mutations,
                operation_extensions=request_data.extensions,
            )
        except (MissingQueryError, CannotGetOperationTypeError) as error:
            raise HTTPException(400, "The request names no operation to run") from error
        except InvalidOperationTypeError as error:
            if error.operation_type is OperationType.MUTATION:
                raise HTTPException(405, "A mutation has to be sent by POST") from error
            raise HTTPException(400, "A subscription needs a WebSocket that speaks graphql-transport-ws") from error

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        """Shape the answer: without ``data`` when nothing was executed, which is when no error has a path."""
        answer = await super().process_result(request, result)
        if result.data is None and result.errors and not any(error.path for error in result.errors):
            del answer["data"]
        return answer

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: Response
    ) -> Response:
        """Give the answer the media type that the client accepts, and the status that goes with it."""
        media_type = sub_response.media_type
        response = super().create_response(response_data, sub_response)
        response.headers["content-type"] = f"{media_type}; charset=utf-8"
        if media_type == RESPONSE_JSON and "data" not in response_data:
            response.status_code = 400
        return response

    def decode_json(self, data: str | bytes) -> object:
        """Read JSON, and only JSON: Python's own parser would take ``NaN`` too.

        Raises:
            JSONDecodeError: it is none, or nested deeper or with longer numbers than any value we keep.
        """
        try:
            value: object = json.loads(data, parse_constant=_refuse)
        except json.JSONDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error
        return value

    def encode_json(self, data: object) -> str:
        """Write JSON."""
        return encode(data).decode()

    def _refusal(self, request: Request, refusal: HTTPException) -> Response:
        """Answer a request that is no GraphQL request, or comes by the wrong method."""
        allow = {"Allow": "POST" if request.method == "GET" else "GET, POST"}
        return Response(
            self.encode_json({"errors": [{"message": refusal.reason}]}),
            status_code=refusal.status_code,
            headers=allow if refusal.status_code == _METHOD_NOT_ALLOWED else None,
            media_type=media_type_for(request.headers.get("accept", "")),
        )


def _parameter(parameters: dict[str, Any], name: str, kind: type) -> Any:
    value = parameters.get(name)
    if value is not None and not isinstance(value, kind):
        words = "a string" if kind is str else "an object"
        raise HTTPException(400, f"{name} must be {words} or null")
    return value


def _refuse(constant: str) -> NoReturn:
    raise json.JSONDecodeError(f"{constant} is not JSON", constant, 0)
