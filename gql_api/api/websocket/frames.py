"""The frames of graphql-transport-ws that a client may send."""

from __future__ import annotations

from typing import Any

_SUBSCRIBE_FIELDS = {"query": str, "documentId": str, "variables": dict, "operationName": str, "extensions": dict}


def frame_problem(message: Any) -> str | None:
    """Return how a frame violates the protocol; None for a valid one.

    https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
    """
    if not isinstance(message, dict):
        return "A message must be a JSON object"
    kind, payload = message.get("type"), message.get("payload")
    if not isinstance(kind, str):
        return "A message needs a type"
    if kind in {"connection_init", "ping", "pong"}:
        return None if payload is None or isinstance(payload, dict) else f"The payload of {kind} must be an object"
    if kind in {"subscribe", "complete"} and not (isinstance(message.get("id"), str) and message["id"]):
        return f"{kind} needs an id, a string"
    return _subscribe_problem(payload) if kind == "subscribe" else None


def _subscribe_problem(payload: Any) -> str | None:
    if not isinstance(payload, dict):
        return "The payload of subscribe must be an object"
    for name, kind in _SUBSCRIBE_FIELDS.items():
        if payload.get(name) is not None and not isinstance(payload[name], kind):
            return f"{name} has the wrong type"
    if payload.get("query") is None and not payload.get("documentId") and not _has_hash(payload.get("extensions")):
        return "subscribe needs a query, a string"
    return None


def _has_hash(extensions: dict[str, Any] | None) -> bool:
    return bool((extensions or {}).get("persistedQuery"))
