"""Strawberry's ASGI server as we run it: over HTTP, and over WebSocket with graphql-transport-ws only."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import NoReturn

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from gql_api.context import Context
from gql_api.schema import schema

_INIT_TIMEOUT = timedelta(seconds=5)
_SUBSCRIPTIONS_PER_CONNECTION = 20


class GraphQLServer(GraphQL[Context, None]):
    """Answers ``/graphql``. The services are those of the application that the request came to."""

    def __init__(self) -> None:
        super().__init__(
            schema,
            graphql_ide="graphiql",
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            connection_init_wait_timeout=_INIT_TIMEOUT,
            max_subscriptions_per_connection=_SUBSCRIPTIONS_PER_CONNECTION,
        )

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """Make the context of one request."""
        return Context(services=request.app.state.services, request=request, response=response)

    def decode_json(self, data: str | bytes) -> object:
        """Read JSON, and only JSON: Python's own parser would take ``NaN`` too."""
        value: object = json.loads(data, parse_constant=_refuse)
        return value

    def encode_json(self, data: object) -> str:
        """Write JSON. What orjson has no room for, integers beyond 64 bits in a result, Python's own writer has."""
        try:
            return orjson.dumps(data).decode()
        except TypeError:
            return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _refuse(constant: str) -> NoReturn:
    raise json.JSONDecodeError(f"{constant} is not JSON", constant, 0)
