"""An API whose tokens anybody may fetch: ``python -m token_app PORT``, with the settings in the environment.

``GET /token?seconds=2`` returns a token that is valid for so long. The verifier is the test's own; all else is the API.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from datetime import UTC, datetime

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tokens import SetPrincipals

from gql_api.access.principal import ALL_SCOPES, Principal
from gql_api.api.authentication.authenticator import TokenAuthentication, UnauthenticatedError
from gql_api.app import create_app
from gql_api.server.http_protocol import HttpProtocol
from gql_api.server.websocket_protocol import WebSocketProtocol


class _Until:
    """A verifier of tokens that are the time of their expiry."""

    def recognises(self, _token: str) -> bool:
        """Return True: there are no other tokens."""
        return True

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token that has not expired."""
        try:
            expires_at = datetime.fromtimestamp(float(token.removeprefix("until-")), UTC)
        except ValueError as error:
            raise UnauthenticatedError from error
        if expires_at <= datetime.now(UTC):
            raise UnauthenticatedError
        return Principal("somebody", ALL_SCOPES, expires_at=expires_at)


def token(seconds: float) -> str:
    """Return a token that is valid for so long."""
    return f"until-{time.time() + seconds:.6f}"


def create() -> ASGIApp:
    """Create the API."""
    app = create_app()
    authentication = TokenAuthentication([_Until()])
    authenticated = SetPrincipals(app, authentication)

    async def started(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/token":
            seconds = float(Request(scope).query_params["seconds"])
            await PlainTextResponse(token(seconds))(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                app.state.services = dataclasses.replace(app.state.services, authenticator=authentication)
            await send(message)

        await authenticated(scope, receive, sent if scope["type"] == "lifespan" else send)

    return started


if __name__ == "__main__":
    uvicorn.run(
        create(),
        port=int(sys.argv[1]),
        access_log=False,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_per_message_deflate=False,
    )
