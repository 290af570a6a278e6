"""Tokens of an issuer: which are accepted, and which principals they describe."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from issuer import AUDIENCE, URL, claims, private_key, public_jwk
from jwt import PyJWK

from gql_api.access import Principal, Restrictions, Scope, TaskFilter
from gql_api.api.authentication.authenticator import Refusal, TokenAuthentication, UnauthenticatedError
from gql_api.api.authentication.claims import Claims
from gql_api.api.authentication.json_web_tokens import JsonWebTokens
from gql_api.api.authentication.jwks import SecretKey
from gql_api.api.authentication.token_cache import TokenCache
from gql_api.settings import Settings, SettingsError

_SECRET = "s" * 32


class _OneKey:
    """The key of an issuer, whatever a token calls it."""

    def __init__(self, algorithm: str) -> None:
        self._key = PyJWK(public_jwk(private_key(algorithm), algorithm), algorithm)

    async def find(self, key_id: str | None, algorithm: str) -> PyJWK:  # noqa: ARG002 - the interface
        """Return the key."""
        return self._key


def _settings(**more: Any) -> Settings:
    return Settings(
        jwt_jwks_url="http://127.0.0.1:1/", jwt_issuer=URL, jwt_audience=(AUDIENCE,), jwt_leeway_seconds=5, **more
    )


def _verifier(algorithm: str = "RS256", **more: Any) -> JsonWebTokens:
    return JsonWebTokens(_settings(**more), _OneKey(algorithm), TokenCache())


def _signed(algorithm: str = "RS256", headers: dict[str, Any] | None = None, **more: Any) -> str:
    return jwt.encode(claims(**more), private_key(algorithm), algorithm, headers)


async def _refusal(token: str, verifier: JsonWebTokens | None = None) -> Refusal:
    with pytest.raises(UnauthenticatedError) as refused:
        await TokenAuthentication([verifier or _verifier()]).by_headers({"authorization": f"Bearer {token}"})
    return refused.value.reason


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_token_of_the_issuer_names_its_principal(algorithm: str) -> None:
    """The claims become subject, scopes, expiry and id."""
    at = int(time.time()) + 60
    token = _signed(algorithm, exp=at, jti="id-1", scope="tasks:read openid tasks.create TASKS-CONTROL")
    expected = Principal(
        "ann",
        frozenset({Scope.TASKS_READ, Scope.TASKS_CREATE, Scope.TASKS_CONTROL}),
        expires_at=datetime.fromtimestamp(at, UTC),
        token_id="id-1",  # noqa: S106 - an id
    )
    assert await _verifier(algorithm).verify(token) == expected


async def test_a_shared_secret_verifies() -> None:
    """A token that is signed with the secret is accepted, and one that is signed with another is not."""
    verifier = JsonWebTokens(Settings(jwt_secret=_SECRET), SecretKey(_SECRET), TokenCache())
    assert (await verifier.verify(jwt.encode(claims(aud=...), _SECRET))).subject == "ann"
    assert await _refusal(jwt.encode(claims(aud=...), "t" * 32), verifier) is Refusal.INVALID
    assert await _refusal(jwt.encode(claims(aud=...), _SECRET + "x" * 32, "HS512"), verifier) is Refusal.INVALID
    assert await _refusal(_signed(aud=...), verifier) is Refusal.INVALID


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://other.example.com/"}, {"iss": ...}, {"iss": URL.rstrip("/")},
        {"aud": "other"}, {"aud": ...}, {"aud": []}, {"aud": {AUDIENCE: 1}},
        {"exp": ...}, {"exp": None}, {"exp": "never"}, {"exp": 1e300}, {"exp": 10**18}, {"exp": True},
        {"nbf": 2**33}, {"nbf": "x"}, {"iat": 2**33},
        {"sub": ...}, {"sub": ""}, {"sub": 7}, {"sub": None}, {"sub": "x" * 256}, {"sub": "\ud800"},
        {"scope": 1}, {"scope": {"tasks:read": True}}, {"scope": [1]}, {"scope": None},
    ],
    ids=repr,
)  # fmt: skip
async def test_a_token_with_other_claims_is_refused(wrong: dict[str, Any]) -> None:
    """Issuer, audience, times, subject and scopes have to be as expected."""
    assert await _refusal(_signed(**wrong)) in {Refusal.INVALID, Refusal.EXPIRED}


async def test_a_token_expires_and_begins_within_the_leeway() -> None:
    """Clocks may differ by the leeway and no more, and the principal expires at the time that the token names."""
    now = int(time.time())
    late = _signed(exp=now - 3)
    assert (await _verifier().verify(late)).expires_at == datetime.fromtimestamp(now - 3, UTC)
    assert await _refusal(_signed(exp=now - 6)) is Refusal.EXPIRED
    assert (await _verifier().verify(_signed(nbf=now + 3, iat=now + 3))).subject == "ann"
    assert await _refusal(_signed(nbf=now + 8)) is Refusal.INVALID


async def test_an_audience_is_not_ignored() -> None:
    """Without JWT_AUDIENCE a token for another audience is refused, and one that names several is not."""
    settings = Settings(jwt_secret=_SECRET)
    verifier = JsonWebTokens(settings, SecretKey(_SECRET), TokenCache())
    assert await _refusal(jwt.encode(claims(), _SECRET), verifier) is Refusal.INVALID
    assert (await _verifier().verify(_signed(aud=["other", AUDIENCE]))).subject == "ann"


def _unsigned(header: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims()).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


async def test_algorithms_are_not_confused() -> None:
    """The public key of the issuer is no secret for HS256, and no token is accepted without a signature."""
    public = private_key("RS256").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    hmac = jwt.get_algorithm_by_name("HS256")
    signing_input = _unsigned({"alg": "HS256", "typ": "JWT"}).rpartition(".")[0]
    signature = hmac.sign(signing_input.encode(), public)
    confused = f"{signing_input}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert await _refusal(confused) is Refusal.INVALID
    for name in ("none", "None", "NONE", ""):
        assert await _refusal(_unsigned({"alg": name})) is Refusal.INVALID
    assert await _refusal(_signed("ES256")) is Refusal.INVALID
    assert await _refusal(_signed("PS256"), _verifier("RS256", jwt_algorithms=("RS256",))) is Refusal.INVALID


@pytest.mark.parametrize(
    "header",
    [{"typ": "dpop+jwt"}, {"typ": "JOSE"}, {"crit": ["exp"], "exp": 1}, {"crit": ["b64"], "b64": True}, {"kid": 7},
     {"kid": "x" * 257}, {"crit": []}],
    ids=repr,
)  # fmt: skip
async def test_a_header_that_means_more_is_refused(header: dict[str, Any]) -> None:
    """Tokens of other types, and those that need an extension, are refused although their signature is right."""
    head = {"alg": "RS256", "typ": "JWT", **header}
    signing_input = _unsigned(head).rpartition(".")[0]
    signature = jwt.get_algorithm_by_name("RS256").sign(signing_input.encode(), private_key("RS256"))
    token = f"{signing_input}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert await _refusal(token) is Refusal.INVALID


async def test_access_tokens_may_have_a_type_of_their_own() -> None:
    """The type of RFC 9068 is accepted."""
    for kind in ("at+jwt", "application/at+JWT"):
        assert (await _verifier().verify(_signed(headers={"typ": kind}))).subject == "ann"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", Refusal.MISSING), ("Bearer", Refusal.INVALID), ("Bearer ", Refusal.INVALID),
        ("Basic YTpi", Refusal.INVALID), ("Bearer é.b.c", Refusal.INVALID), ("Bearer a.b.c d", Refusal.INVALID),
        ("Bearer a.b.c,d", Refusal.INVALID), ("Bearer a.b", Refusal.INVALID), ("Bearer a.b.c", Refusal.INVALID),
        ("Bearer ..", Refusal.INVALID), ("bearer a.b.c", Refusal.INVALID), (f"Bearer {'a' * 20000}", Refusal.INVALID),
        (f"Bearer {'a' * 16000}.b.c", Refusal.INVALID), ("Bearer\ta.b.c", Refusal.INVALID),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
async def test_other_headers_are_refused(value: str, reason: Refusal) -> None:
    """Whatever the header has, the answer is the same error, and the counter says why."""
    with pytest.raises(UnauthenticatedError, match=r"^The request needs a valid token$") as refused:
        await TokenAuthentication([_verifier()]).by_headers({"authorization": value} if value else {})
    assert refused.value.reason is reason


async def test_a_short_key_is_refused() -> None:
    """A signature by a key of 1024 bits proves nothing."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - the weak key of the test
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = jwt.encode(claims(), weak, "RS256")

    class _Weak(_OneKey):
        def __init__(self) -> None:
            self._key = PyJWK(public_jwk(weak, "RS256"), "RS256")

    assert await _refusal(token, JsonWebTokens(_settings(), _Weak(), TokenCache())) is Refusal.INVALID


def test_scopes_have_several_spellings_and_a_prefix() -> None:
    """Scopes of other applications are ignored, and a token without the claim has the default ones."""
    read = frozenset({Scope.TASKS_READ})

    def scopes(given: Any, **settings: Any) -> frozenset[Scope]:
        return Claims(_settings(**settings)).principal(claims(scope=given)).scopes

    assert scopes(["tasks:read", "openid", "TASKS:READ", "tasks"]) == read
    assert scopes("") == scopes([]) == scopes(...) == frozenset()
    assert scopes(..., jwt_default_scopes=("tasks-read",)) == read
    assert scopes("", jwt_default_scopes=("tasks-read",)) == frozenset()
    assert scopes("api/tasks:read admin other/admin api/nothing", jwt_scopes_prefix="api/") == read
    with pytest.raises(SettingsError, match=r"^JWT_DEFAULT_SCOPES: expected names out of TASKS_READ, .* not 'all'$"):
        Claims(_settings(jwt_default_scopes=("all",)))


def test_claims_may_be_within_others() -> None:
    """A claim is found by its name, dots included, or by its path."""
    reader = Claims(
        _settings(
            jwt_subject_claim="user.id",
            jwt_scopes_claim="resource_access.gql-api.roles",
            jwt_tenant_claim="https://example.com/tenant",
        )
    )
    nested = {
        "user": {"id": "u-1"},
        "resource_access": {"gql-api": {"roles": ["operate"]}},
        "https://example.com/tenant": "t-1",
    }
    principal = reader.principal(claims(**nested))
    assert (principal.subject, principal.tenant) == ("u-1", "t-1")
    assert principal.scopes == {Scope.OPERATE}


async def test_a_tenant_is_required_where_there_are_tenants() -> None:
    """A token without a tenant would see the tasks of all if it had the scope ADMIN."""
    verifier = _verifier(jwt_tenant_claim="org")
    assert (await verifier.verify(_signed(org="t-1"))).tenant == "t-1"
    for tenant in (..., None, "", 3):
        assert await _refusal(_signed(org=tenant), verifier) is Refusal.INVALID


async def test_a_filter_narrows_and_restrictions_restrict() -> None:
    """Both come from their claims."""
    verifier = _verifier(jwt_filter_claim="f", jwt_restrictions_claim="r")
    allowed = {"names": ["add"], "queues": ["q"], "minPriority": 3, "maxTimeLimitSeconds": 60, "metadata": {"a": 1}}
    principal = await verifier.verify(_signed(f={"names": ["add"]}, r=allowed))
    assert principal.filter == TaskFilter(names=["add"], metadata=[], all_of=[])
    assert principal.restrictions == Restrictions(frozenset({"add"}), frozenset({"q"}), 3, 60.0, {"a": 1})
    free = await verifier.verify(_signed())
    assert (free.filter, free.restrictions) == (None, Restrictions())


@pytest.mark.parametrize(
    "wrong",
    [
        {"f": None}, {"f": "x"}, {"f": {"statuses": ["FAILURE"]}}, {"f": {"unknown": 1}}, {"f": []},
        {"r": None}, {"r": {"name": ["add"]}}, {"r": {"names": "add"}}, {"r": {"names": None}},
        {"r": {"minPriority": 1.5}}, {"r": {"minPriority": 10}}, {"r": {"minPriority": True}},
        {"r": {"maxTimeLimitSeconds": -1}}, {"r": {"maxTimeLimitSeconds": "1"}}, {"r": {"metadata": [1]}},
        {"r": {"metadata": {"a": 2**70}}}, {"r": {"names": ["\ud800"]}},
    ],
    ids=repr,
)  # fmt: skip
async def test_a_filter_or_restriction_that_is_not_understood_lets_nobody_in(wrong: dict[str, Any]) -> None:
    """A token that is to be narrowed is never accepted without it."""
    verifier = _verifier(jwt_filter_claim="f", jwt_restrictions_claim="r")
    assert await _refusal(_signed(**wrong), verifier) is Refusal.INVALID


async def test_a_cached_principal_ends_with_its_token() -> None:
    """The cache is bounded, keeps nothing beyond the expiry, and has no token in it."""
    now = 4102444800.0
    cache = TokenCache(max_count=2, max_seconds=100, clock=lambda: now)
    expiring = Principal("a", frozenset(), expires_at=datetime.fromtimestamp(now, UTC) + timedelta(seconds=10))
    for token in ("one", "two", "three"):
        cache.put(token, expiring)
    assert (cache.get("one"), cache.get("two"), len(cache)) == (None, expiring, 2)
    assert "two" not in repr(vars(cache))
    now += 10
    assert cache.get("two") is None
    cache.put("four", Principal("b", frozenset()))
    assert cache.get("four") is not None
    now += 100
    assert cache.get("four") is None


async def test_a_repeated_token_is_verified_once() -> None:
    """The second request with a token needs no key."""
    verifier = _verifier()
    token = _signed()
    first = await verifier.verify(token)
    verifier._keys = None  # type: ignore[assignment] # noqa: SLF001 - to see that it is not asked
    assert await verifier.verify(token) is first
