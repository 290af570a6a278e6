"""The keys of an issuer: fetched from a real server, rotated, and kept while the issuer is away."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from issuer import AUDIENCE, URL, Issuer, private_key, public_jwk, running_issuer, send
from support import wait_until_async

from gql_api.aio.background import background
from gql_api.api.authentication.authenticator import AuthenticationUnavailableError, UnauthenticatedError
from gql_api.api.authentication.json_web_tokens import JsonWebTokens
from gql_api.api.authentication.jwks import JwksKeys, JwksTimes
from gql_api.api.authentication.jwks_fetch import FetchError, fetch_key_set
from gql_api.api.authentication.token_cache import TokenCache
from gql_api.settings import Settings

_ALGORITHMS = ("RS256", "ES256", "EdDSA")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """A running issuer."""
    with running_issuer() as issuer:
        yield issuer


class _Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    """A clock that stands still."""
    return _Clock()


def _keys(issuer: Issuer, clock: _Clock, **times: float) -> JwksKeys:
    return JwksKeys(issuer.url, _ALGORITHMS, JwksTimes(**times), clock)


async def test_a_new_key_is_found_by_one_fetch(issuer: Issuer, clock: _Clock) -> None:
    """All verifications that wait for a rotated key share a fetch, and later ones need none."""
    keys = _keys(issuer, clock)
    assert await keys.find("1", "RS256") is not None
    issuer.rotate("2", "ES256", keep=True)
    clock.now += 11
    found = await asyncio.gather(*(keys.find("2", "ES256") for _ in range(50)))
    assert None not in found
    assert await keys.find("1", "RS256") is not None
    assert issuer.fetches == 2


async def test_unknown_keys_cause_no_flood_of_fetches(issuer: Issuer, clock: _Clock) -> None:
    """A thousand tokens with invented key ids cause one fetch an interval."""
    keys = _keys(issuer, clock)
    await keys.find("1", "RS256")
    for round_ in range(3):
        clock.now += 11
        found = await asyncio.gather(*(keys.find(f"{round_}-{number}", "RS256") for number in range(1000)))
        assert set(found) == {None}
        for number in range(20):
            assert await keys.find(f"{round_}-later-{number}", "RS256") is None
    assert issuer.fetches == 4
    assert await keys.find("1", "HS256") is None


async def test_a_removed_key_verifies_nothing_any_more(issuer: Issuer) -> None:
    """Once the keys are fetched, neither the old key nor a principal that it verified before is accepted."""
    settings = Settings(jwt_jwks_url=issuer.url, jwt_issuer=URL, jwt_audience=(AUDIENCE,))
    keys, cache = JwksKeys(issuer.url, _ALGORITHMS, JwksTimes(refresh=0.05, interval=0.01)), TokenCache()
    keys.on_change = cache.clear
    verifier = JsonWebTokens(settings, keys, cache)
    token = issuer.token()
    async with background(keys.run):
        assert (await verifier.verify(token)).subject == "ann"
        issuer.rotate("1", number=1)

        async def is_refused() -> bool:
            try:
                await verifier.verify(token)
            except UnauthenticatedError:
                return True
            return False

        await wait_until_async(is_refused)
        assert (await verifier.verify(issuer.token(number=1))).subject == "ann"


async def test_keys_are_refreshed_before_anybody_asks(issuer: Issuer) -> None:
    """The background fetches the keys again and again."""
    keys = JwksKeys(issuer.url, _ALGORITHMS, JwksTimes(refresh=0.02, interval=0.01))
    async with background(keys.run):

        async def fetched() -> bool:
            return issuer.fetches >= 3

        await wait_until_async(fetched)


async def test_the_last_keys_hold_while_the_issuer_is_away(
    issuer: Issuer, clock: _Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """They hold for a limited time. The outage and its end are one line each."""
    keys = _keys(issuer, clock, max_age=1000)
    assert await keys.find("1", "RS256") is not None
    issuer.respond = lambda handler: send(handler, 503, b"")
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            clock.now += 100
            assert await keys.find("1", "RS256") is not None
            assert await keys.find("2", "RS256") is None
        clock.now += 600
        with pytest.raises(AuthenticationUnavailableError):
            await keys.find("1", "RS256")
        assert len(caplog.records) == 1
        issuer.respond = None
        clock.now += 11
        assert await keys.find("1", "RS256") is not None
        assert len(caplog.records) == 2


async def test_an_issuer_that_never_answered_lets_nobody_in(issuer: Issuer, clock: _Clock) -> None:
    """Nothing is known about tokens, which is not the same as an invalid token."""
    issuer.respond = lambda handler: send(handler, 500, b"")
    keys = _keys(issuer, clock)
    for _ in range(3):
        with pytest.raises(AuthenticationUnavailableError):
            await keys.find("1", "RS256")
    assert issuer.fetches == 1


async def test_a_key_without_an_id_is_found_if_it_is_the_only_one(issuer: Issuer, clock: _Clock) -> None:
    """A token without a key id is verified by the only key for its algorithm."""
    keys = _keys(issuer, clock)
    assert await keys.find(None, "RS256") is not None
    issuer.rotate("2", number=1, keep=True)
    clock.now += 301
    await keys.find("unknown", "RS256")
    assert await keys.find(None, "RS256") is None


_RSA = public_jwk(private_key("RS256"), "RS256")


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXM", "alg": "HS256"}, {**_RSA, "use": "enc"},
        {**_RSA, "alg": "RSA-OAEP"}, {**_RSA, "alg": "HS256"}, {**_RSA, "n": 5}, {**_RSA, "n": "!"}, {"kty": "RSA"},
        {"kty": "EC", "crv": "P-521"}, {"kty": []}, {}, 1, None, "x", {**_RSA, "kid": 7}, {**_RSA, "alg": []},
        {**_RSA, "d": "AQ"}, {"kty": "OKP", "crv": "X25519", "x": "AA"}, {**_RSA, "n": "AQ", "e": "AQ"},
    ],
    ids=lambda jwk: "-".join(jwk) if isinstance(jwk, dict) else repr(jwk),
)  # fmt: skip
async def test_keys_that_cannot_verify_are_left_out(issuer: Issuer, clock: _Clock, jwk: Any) -> None:
    """Symmetric keys, those for encryption and malformed ones are ignored, and cost no other key."""
    issuer.keys = [{"kid": "bad", **jwk} if isinstance(jwk, dict) else jwk, *issuer.keys]
    keys = _keys(issuer, clock)
    assert await keys.find("1", "RS256") is not None
    for algorithm in (*_ALGORITHMS, "HS256", "none"):
        assert await keys.find("bad", algorithm) is None


_LARGE = b'{"keys": [], "more": "' + b"x" * 300_000 + b'"}'


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, _LARGE), (200, b"{"), (200, b"[]"), (200, b"{}"), (200, b'{"keys": 1}'), (200, b"[" * 100_000),
     (404, b'{"keys": []}'), (204, b""), (200, b"\xff")],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
async def test_answers_that_are_no_key_set_are_refused(issuer: Issuer, status: int, body: bytes) -> None:
    """Too much, no JSON, other JSON, or another status."""
    issuer.respond = lambda handler: send(handler, status, body)
    with pytest.raises(FetchError):
        await fetch_key_set(issuer.url, 5)


async def test_redirects_are_not_followed(issuer: Issuer) -> None:
    """A redirect might lead into the network of the API."""
    issuer.respond = lambda handler: send(handler, 302, b"", Location=issuer.url)
    with pytest.raises(FetchError, match="302"):
        await fetch_key_set(issuer.url, 5)
    assert issuer.fetches == 1


@pytest.mark.parametrize("drip", [b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"])
async def test_a_slow_answer_ends_the_fetch(issuer: Issuer, drip: bytes) -> None:
    """An issuer that sends a byte now and then does not keep anybody waiting, nor the event loop."""
    done = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(drip)
        while not done.wait(0.05):
            handler.wfile.write(b"x")

    issuer.respond = trickle
    began = time.monotonic()
    with pytest.raises(FetchError, match="no answer within"):
        await fetch_key_set(issuer.url, 0.3)
    assert time.monotonic() - began < 20, "the issuer never comes to an end"
    done.set()


async def test_an_issuer_that_is_not_there_is_a_failure() -> None:
    """A refused connection is one too."""
    with pytest.raises(FetchError):
        await fetch_key_set("http://127.0.0.1:1/jwks.json", 5)
