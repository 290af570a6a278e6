"""graphql-transport-ws, with the close code that the protocol has for every kind of bad frame."""

from __future__ import annotations

from typing import Any

from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler

from gql_api.context import Context

_SUBSCRIBE_FIELDS = {"query": str, "variables": dict, "operationName": str, "extensions": dict}


class TransportHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """Looks at each frame before Strawberry does, which takes the shape of a frame for granted."""

    async def handle_message(self, message: Any) -> None:
        """Handle one frame; a malformed one closes the socket with 4400."""
        problem = frame_problem(message)
        if problem is not None:
            await self.handle_invalid_message(problem)
        else:
            await super().handle_message(message)


def frame_problem(message: Any) -> str | None:
    """Say what is wrong with a frame by the protocol; None when nothing is.

    https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
    """
    if not isinstance(message, dict):
        return "A message must be a JSON object"
    kind, payload = message.get("type"), message.get("payload")
    if not isinstance(kind, str):
        return "A message needs a type"
    if kind in {"connection_init", "ping", "pong"}:
        is_object = "payload" not in message or isinstance(payload, dict)
        return None if is_object else f"The payload of {kind} must be an object"
    if kind in {"subscribe", "complete"} and not (isinstance(message.get("id"), str) and message["id"]):
        return f"{kind} needs an id, a string"
    return _subscribe_problem(payload) if kind == "subscribe" else None


def _subscribe_problem(payload: Any) -> str | None:
    if not isinstance(payload, dict):
        return "The payload of subscribe must be an object"
    if not isinstance(payload.get("query"), str):
        return "subscribe needs a query, a string"
    for name, kind in _SUBSCRIBE_FIELDS.items():
        if payload.get(name) is not None and not isinstance(payload[name], kind):
            return f"{name} has the wrong type"
    return None
