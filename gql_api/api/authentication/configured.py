"""The authentication that the settings describe: its verifiers, in the order in which they are asked."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from gql_api.aio.background import background
from gql_api.api.authentication.authenticator import (
    Authenticator,
    NoAuthentication,
    TokenAuthentication,
    TokenVerifier,
)
from gql_api.api.authentication.custom import CustomAuthentication, load_function
from gql_api.api.authentication.json_web_tokens import JsonWebTokens
from gql_api.api.authentication.jwks import JwksKeys, SecretKey
from gql_api.api.authentication.token_cache import TokenCache
from gql_api.settings import Settings


class ConfiguredAuthentication:
    """The authentication of an application, checked before a server listens.

    Args:
        settings: the settings.
        given: an authenticator that decides in place of what the settings describe.

    Raises:
        SettingsError: a setting cannot work.
    """

    def __init__(self, settings: Settings, given: Authenticator | None = None) -> None:
        self._settings = settings
        self._given = given
        self._function = load_function(settings.authenticate) if settings.authenticate else None
        self._keys: JwksKeys | None = None
        self._json_web_tokens: JsonWebTokens | None = None
        if settings.has_json_web_tokens:
            self._json_web_tokens = self._verifier()

    @contextlib.asynccontextmanager
    async def open(self, issued: Sequence[TokenVerifier] = ()) -> AsyncIterator[Authenticator]:
        """Open the authenticator, for as long as the application runs.

        Args:
            issued: the verifiers of the tokens that the API issues itself, in the order in which they are asked.
        """
        if self._given is not None or not self._settings.requires_authentication:
            yield self._given or NoAuthentication()
            return
        async with contextlib.AsyncExitStack() as stack:
            # The first verifier that recognises a token decides. The API's own tokens have a form of their own, and
            # that of JSON Web Tokens recognises all with three parts.
            verifiers = [*issued]
            if self._keys is not None:
                await stack.enter_async_context(background(self._keys.run))
            if self._json_web_tokens is not None:
                verifiers.append(self._json_web_tokens)
            otherwise = None
            if self._function is not None:
                otherwise = CustomAuthentication(self._function, self._settings.store_timeout_seconds)
                stack.callback(otherwise.close)
            yield TokenAuthentication(verifiers, otherwise)

    def _verifier(self) -> JsonWebTokens:
        settings, cache = self._settings, TokenCache()
        if settings.jwt_secret:
            return JsonWebTokens(settings, SecretKey(settings.jwt_secret), cache)
        self._keys = JwksKeys(settings.jwt_jwks_url, settings.token_algorithms)
        self._keys.on_change = cache.clear
        return JsonWebTokens(settings, self._keys, cache)
