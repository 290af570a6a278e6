"""``AUTHENTICATE``: a function of the deployment that authenticates requests by their headers."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeAlias

from starlette.datastructures import Headers

from gql_api.access.principal import Principal
from gql_api.api.authentication.authenticator import AuthenticationUnavailableError, UnauthenticatedError
from gql_api.settings import SettingsError

logger = logging.getLogger(__name__)

_THREADS = 16

Function: TypeAlias = Callable[[Mapping[str, str]], Principal | Awaitable[Principal | None] | None]


def load_function(path: str) -> Function:
    """Import the function that ``AUTHENTICATE`` names.

    Raises:
        SettingsError: there is no such function.
    """
    module_name, _, name = path.partition(":")
    try:
        function: Any = functools.reduce(getattr, name.split("."), importlib.import_module(module_name))
    except Exception as error:  # the module may raise anything
        raise SettingsError(f"AUTHENTICATE: {path} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise SettingsError(f"AUTHENTICATE: {path} is not a function")
    return function  # type: ignore[no-any-return] # the deployment's


class CustomAuthentication:
    """The verifier of requests by a function of the deployment. One that is not a coroutine runs in a thread.

    Args:
        function: it gets the headers, whose names may be written in any case, and returns a principal, or None to
            refuse the request. What it raises is logged, and lets nobody in.
        timeout: the seconds that it may take.
    """

    def __init__(self, function: Function, timeout: float) -> None:
        self._function = function
        self._timeout = timeout
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - of an object with an asynchronous __call__
        )
        self._threads = ThreadPoolExecutor(_THREADS, "authenticate")

    def close(self) -> None:
        """Wait for no call any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def verify(self, headers: Mapping[str, str]) -> Principal:
        """Return the principal of a request.

        Raises:
            UnauthenticatedError: the function refuses it, or the principal has expired.
            AuthenticationUnavailableError: the function failed.
        """
        try:
            async with asyncio.timeout(self._timeout):
                principal = await self._call(Headers(headers))
            is_valid = principal is not None and not _has_expired(principal)
        except Exception as error:
            logger.exception("AUTHENTICATE failed, and the request is refused")
            raise AuthenticationUnavailableError from error
        if principal is None or not is_valid:
            raise UnauthenticatedError
        return principal

    async def _call(self, headers: Headers) -> Principal | None:
        if self._is_async:
            result: Any = self._function(headers)
        else:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, self._function, headers)
        if inspect.isawaitable(result):
            result = await result
        if result is not None:
            _check(result)
        return result  # type: ignore[no-any-return] # checked


def _check(result: object) -> None:
    if not isinstance(result, Principal):
        raise TypeError(f"AUTHENTICATE has to return a Principal or None, not {type(result).__name__}")
    # A caller without a subject has no quotas, and shares the idempotency keys of an API without authentication.
    if not isinstance(result.subject, str) or not result.subject:
        raise TypeError("AUTHENTICATE has to return a Principal whose subject is a text, or None")
    if not isinstance(result.scopes, frozenset):
        raise TypeError(
            f"AUTHENTICATE: the scopes of a Principal are a frozenset, not a {type(result.scopes).__name__}"
        )


def _has_expired(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at <= datetime.now(UTC)
