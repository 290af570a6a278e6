"""The two health checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from pymongo.errors import PyMongoError
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse

from gql_api.api.context import Services

_PING_TIMEOUT_SECONDS = 2.0


async def alive(_request: Request) -> JSONResponse:
    """Answer ``/healthz``: the process runs."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> JSONResponse:
    """Answer ``/readyz``: 200 when MongoDB responds, 503 when it does not.

    Without Redis the API still accepts and reads tasks: it stays ready, and the body reports that Redis is down.
    """
    services: Services = request.app.state.services
    mongodb, redis = await asyncio.gather(_state(services.store.ping()), _state(services.redis.ping()))
    return JSONResponse({"mongodb": mongodb, "redis": redis}, status_code=200 if mongodb == "ok" else 503)


async def _state(ping: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(_PING_TIMEOUT_SECONDS):
            await ping
    except (PyMongoError, RedisError, OSError, TimeoutError):
        return "down"
    return "ok"
