"""The keys that verify JSON Web Tokens: those of a JSON Web Key Set, which an issuer rotates, or one secret."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from jwt import PyJWK

from gql_api.aio.background import cancelled
from gql_api.api.authentication.authenticator import AuthenticationUnavailableError
from gql_api.api.authentication.jwks_fetch import FetchError, fetch_key_set

logger = logging.getLogger(__name__)

_KeyId: TypeAlias = tuple[str | None, str]
_ALGORITHMS_OF = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
_MAX_KEYS = 100


class Keys(Protocol):
    """The keys that verify the tokens of one issuer."""

    async def find(self, key_id: str | None, algorithm: str) -> PyJWK | bytes | None:
        """Return the key with this id that fits the algorithm; None if the issuer has no such key.

        Raises:
            AuthenticationUnavailableError: the keys are not known.
        """


class SecretKey:
    """A secret that the issuer and the API share."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    async def find(self, key_id: str | None, algorithm: str) -> bytes:  # noqa: ARG002 - the interface
        """Return the secret, whatever id a token gives to it."""
        return self._secret


@dataclass(frozen=True)
class JwksTimes:
    """The times of a key set, in seconds.

    Attributes:
        refresh: the time after which the keys are fetched again.
        interval: the shortest time between two fetches, whatever the tokens of clients say.
        max_age: the time for which keys are used while the issuer does not answer.
        timeout: the time that a fetch may take.
    """

    refresh: float = 300.0
    interval: float = 10.0
    max_age: float = 24 * 3600.0
    timeout: float = 5.0


_TIMES = JwksTimes()


class JwksKeys:
    """The keys of a JSON Web Key Set. They are fetched in the background, and again when a token has an unknown key.

    Args:
        url: the address of the key set.
        algorithms: the algorithms that may sign tokens; none of them symmetric.
        times: how often the keys are fetched.
        clock: a clock that never goes back.
    """

    def __init__(
        self,
        url: str,
        algorithms: Sequence[str],
        times: JwksTimes = _TIMES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._times = times
        self._clock = clock
        self._keys: dict[_KeyId, PyJWK] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None
        self._is_failing = False
        self.on_change: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """Keep the keys fresh."""
        try:
            while True:
                await self._refreshed()
                is_fresh = self._age < self._times.refresh
                await asyncio.sleep(self._times.refresh if is_fresh else self._times.interval)
        finally:
            if self._fetch is not None:
                await cancelled([self._fetch])

    async def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """Return the key with this id that fits the algorithm; None if the issuer has no such key.

        Raises:
            AuthenticationUnavailableError: the issuer has not answered for too long.
        """
        key = self._find(key_id, algorithm)
        if key is None or self._age > self._times.max_age:
            await self._refreshed()
            key = self._find(key_id, algorithm)
        if self._age > self._times.max_age:
            raise AuthenticationUnavailableError
        return key

    @property
    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        if key_id is not None:
            return self._keys.get((key_id, algorithm))
        # An issuer with one key need not name it.
        fitting = [key for (_, name), key in self._keys.items() if name == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    async def _refreshed(self) -> None:
        """Wait for the fetch that is under way, or for a new one unless the last one was a short time ago."""
        if self._fetch is None or self._fetch.done():
            if self._clock() - self._tried_at < self._times.interval:
                return
            self._tried_at = self._clock()
            self._fetch = asyncio.create_task(self._refresh())
        # Others wait for it too.
        await asyncio.shield(self._fetch)

    async def _refresh(self) -> None:
        try:
            keys = await self._fetched()
        except FetchError as error:
            if not self._is_failing:
                self._is_failing = True
                logger.warning("JWT_JWKS_URL: the keys cannot be fetched, the last ones stay in use: %s", error)
            return
        if self._is_failing:
            self._is_failing = False
            logger.warning("JWT_JWKS_URL: the keys have been fetched again")
        is_changed = _identity(keys) != _identity(self._keys)
        self._keys = keys
        self._fetched_at = self._clock()
        if is_changed:
            self.on_change()

    async def _fetched(self) -> dict[_KeyId, PyJWK]:
        """Fetch the keys.

        Raises:
            FetchError: there are none.
        """
        found = await fetch_key_set(self._url, self._times.timeout)
        keys = dict(_usable(found[:_MAX_KEYS], self._algorithms))
        if not keys:
            raise FetchError(f"the key set has no key for {', '.join(self._algorithms)}")
        return keys


def _usable(found: Iterable[Any], algorithms: Sequence[str]) -> Iterable[tuple[_KeyId, PyJWK]]:
    """Return the keys for signatures, by id and algorithm. Symmetric keys are never among them."""
    for jwk in found:
        if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "d" in jwk:
            continue  # a private key that is public belongs to everybody
        key_id, kind, named = jwk.get("kid"), jwk.get("kty"), jwk.get("alg")
        if not isinstance(key_id, str | None) or not isinstance(kind, str):
            continue
        for algorithm in _ALGORITHMS_OF.get(kind, ()):
            if algorithm in algorithms and named in (None, algorithm) and (key := _key(jwk, algorithm)) is not None:
                yield (key_id, algorithm), key


def _key(jwk: dict[str, Any], algorithm: str) -> PyJWK | None:
    try:
        key = PyJWK(jwk, algorithm)
        is_short = key.Algorithm.check_key_length(key.key) is not None
    except Exception:  # noqa: BLE001 - a key that PyJWT cannot read, for any reason, must not cost the others
        return None
    return None if is_short else key


def _identity(keys: dict[_KeyId, PyJWK]) -> object:
    return {key_id: key.Algorithm.to_jwk(key.key) for key_id, key in keys.items()}
