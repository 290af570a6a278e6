"""One fetch of a JSON Web Key Set: bounded in size and time, without redirects, and off the event loop."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

from gql_api.api.errors import ApiError

T = TypeVar("T")

_MAX_BYTES = 256 * 1024
_CHUNK_BYTES = 16 * 1024
_OK = 200


class FetchError(ApiError):
    """A key set that could not be fetched. The message has no secrets."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A handler that follows no redirect: it might lead to another issuer, or into the network of the API."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Return nothing, so that the redirect is an error."""


async def fetch_key_set(url: str, seconds: float) -> list[Any]:
    """Return the keys of a key set, as they are in its JSON.

    Raises:
        FetchError: the issuer did not answer in time, or not with a key set.
    """
    deadline = time.monotonic() + seconds
    try:
        async with asyncio.timeout(seconds):
            document = await _in_thread(lambda: _read(url, seconds, deadline))
        keys = document["keys"]
    except TimeoutError:
        raise FetchError(f"no answer within {seconds:g} s") from None
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise FetchError(f"{type(error).__name__}: {error}") from None
    except (KeyError, TypeError):
        raise FetchError("the answer is not a key set") from None
    if not isinstance(keys, list):
        raise FetchError("the answer is not a key set")
    return keys


def _read(url: str, timeout: float, deadline: float) -> Any:
    opener = urllib.request.build_opener(_NoRedirects)
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked in settings
    try:
        response = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(f"status {error.code}") from None
    with response:
        if response.status != _OK:
            raise FetchError(f"status {response.status}")
        body = bytearray()
        while chunk := response.read1(_CHUNK_BYTES):
            body += chunk
            if len(body) > _MAX_BYTES:
                raise FetchError(f"more than {_MAX_BYTES} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError
    return json.loads(body)


async def _in_thread(function: Callable[[], T]) -> T:
    """Run a function in a thread of its own, for which neither the pool of others nor the end of the process waits."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type] # without an error it is the result

    def run() -> None:
        result, failure = None, None
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - the coroutine raises it
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="jwks", daemon=True).start()
    return await future
