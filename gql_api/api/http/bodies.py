"""The bodies of requests: bounded for each request and for the process, under any ASGI server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import FieldNode, OperationDefinitionNode, OperationType
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gql_api.api.errors import ApiError, ClientError, LimitExceededError, OverloadedError
from gql_api.api.execution.encoding import encode
from gql_api.api.http.negotiation import JSON, accept_of, media_type_for
from gql_api.api.http.stream_formats import FORMATS
from gql_api.limits import LimitSettings

logger = logging.getLogger(__name__)

_BODY = "gql_api.body"
_LIMIT = "body bytes"
_DISCARD_SECONDS = 1.0
_DISCARD_BYTES = 8 * 1024 * 1024
_CREATING = frozenset({"createTask", "createTasks"})
_TOO_LARGE, _UNAVAILABLE = 413, 503


class BodyRefusedError(ApiError):
    """The body of a request is too large for it, or for the process at the moment."""

    def __init__(self, error: ClientError, status: int) -> None:
        super().__init__(error.message)
        self.error = error
        self.status = status


@dataclass(slots=True)
class _Held:
    """The bodies of all requests under way, in bytes."""

    size: int = 0


@dataclass(slots=True)
class _Body:
    held: _Held
    size: int = 0
    is_complete: bool = False
    is_released: bool = False

    def release(self) -> None:
        """Count the body no longer among those that are held."""
        if not self.is_released:
            self.is_released = True
            self.held.size -= self.size


class BoundBodies:
    """Middleware that refuses bodies over a limit, and logs a line for a body that its client did not finish.

    A body of more than ``BODY_MAX_BYTES`` is accepted up to ``CREATE_BODY_MAX_BYTES``, and has to create tasks: only
    its end shows whether it does, because the document may be behind the variables. :func:`check_large_body` decides.
    """

    def __init__(self, app: ASGIApp, limits: LimitSettings) -> None:
        self._app = app
        self._limits = limits
        self._max_bytes = max(limits.body_max_bytes, limits.create_body_max_bytes)
        self._held = _Held()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on whose body is bounded."""
        if scope["type"] != "http" or scope["method"] == "GET":
            await self._app(scope, receive, send)
            return
        body = scope[_BODY] = _Body(self._held)

        async def bounded_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                body.is_complete = not message.get("more_body", False)
                self._count(body, len(message.get("body", b"")))
            return message

        try:
            self._check(_declared_bytes(scope))
            await self._app(scope, bounded_receive, send)
        except BodyRefusedError as refusal:
            if not body.is_complete and "expect" not in Headers(scope=scope):
                await _discard_rest(receive)
            await _response(scope, refusal)(scope, receive, send)
        except ClientDisconnect:
            logger.info("A client disconnected before the end of its request's body, after %d bytes", body.size)
        finally:
            body.release()

    def _count(self, body: _Body, size: int) -> None:
        body.size += size
        self._held.size += size
        self._check(body.size)
        if self._held.size > self._limits.bodies_max_bytes:
            error = OverloadedError("bodies", "The API is receiving too many large requests")
            raise BodyRefusedError(error, _UNAVAILABLE)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise BodyRefusedError(LimitExceededError(_LIMIT, size, self._max_bytes), _TOO_LARGE)


def check_large_body(scope: Scope, limits: LimitSettings, operation: OperationDefinitionNode | None) -> None:
    """Check that a body of more than ``BODY_MAX_BYTES`` creates tasks, and that no subscription's is so large.

    A subscription keeps its variables for as long as it runs, so it has the limit that it has on a WebSocket.

    Raises:
        BodyRefusedError: the body is too large for its operation.
    """
    body: _Body | None = scope.get(_BODY)
    maximum = limits.body_max_bytes
    if operation is not None and operation.operation is OperationType.SUBSCRIPTION:
        maximum = min(maximum, limits.frame_max_bytes)
    if body is not None and body.size > maximum and not _creates_tasks(operation):
        raise BodyRefusedError(LimitExceededError(_LIMIT, body.size, maximum), _TOO_LARGE)


def release_body(request: Request) -> None:
    """Forget the body of a request whose answer has no end, which would count against those of all other requests."""
    body: _Body | None = request.scope.get(_BODY)
    if body is not None:
        request._body = b""  # noqa: SLF001 - Starlette keeps it as long as the request
        body.release()


async def _discard_rest(receive: Receive) -> None:
    """Read the rest of a body, as long as it is not large: a client that is still sending reads no answer."""
    left = _DISCARD_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while left > 0 and (message := await receive()).get("more_body"):
                left -= len(message.get("body", b""))


def _creates_tasks(operation: OperationDefinitionNode | None) -> bool:
    if operation is None or operation.operation is not OperationType.MUTATION:
        return False
    fields = operation.selection_set.selections
    return all(isinstance(field, FieldNode) and field.name.value in _CREATING for field in fields)


def _declared_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _response(scope: Scope, refusal: BodyRefusedError) -> Response:
    """Return the answer, after which the connection is closed: the rest of the body is still to come."""
    media_type = media_type_for(accept_of(Headers(scope=scope)))
    error: dict[str, Any] = dict(refusal.error.formatted)
    headers = {"Connection": "close", **retry_after([error])}
    body = encode({"errors": [error]})
    return Response(body, refusal.status, headers, JSON if media_type in FORMATS else media_type)


def retry_after(errors: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the header of an answer whose client has to wait, if one of its errors says so."""
    times = [error["extensions"]["retryAfter"] for error in errors if "retryAfter" in error.get("extensions", {})]
    return {"Retry-After": str(max(times))} if times else {}
