from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from gql_api.access.access_tokens import (
    MAX_BYTES,
    AccessTokenSigner,
    InvalidAccessTokenError,
    OversizedTokenError,
    is_access_token,
)
from gql_api.access.grants import Grant, read_grant
from gql_api.access.principal import Restrictions, Scope
from gql_api.access.token_filter import read_token_filter

_SECRET, _NEW_SECRET = "old-" * 8, "new-" * 8
_SIGNER = AccessTokenSigner([_SECRET], "main")
_GRANT = Grant(
    frozenset({Scope.TASKS_READ, Scope.TASKS_CREATE}),
    read_token_filter({"metadata": [{"path": "customer", "eq": "c-42"}]}),
    Restrictions(frozenset({"add"}), frozenset({"fast"}), 3, 60.0, {"customer": "c-42"}),
)


def _sign(signer: AccessTokenSigner = _SIGNER, seconds: float = 60, root: str | None = None) -> str:
    return signer.sign("alice", "acme", _GRANT, datetime.now(UTC) + timedelta(seconds=seconds), root).text


def test_a_token_carries_its_grant() -> None:
    """The principal of a token is the one that it was signed for, until the time that its maker was told."""
    token = _SIGNER.sign("alice", "acme", _GRANT, datetime.now(UTC) + timedelta(seconds=60), None)
    principal = _SIGNER.principal_of(token.text)
    assert (principal.subject, principal.tenant, Grant.of(principal)) == ("alice", "acme", _GRANT)
    assert principal.expires_at == token.expires_at
    assert str(principal.token_id).startswith("gqa_")
    assert is_access_token(token.text)
    assert token.text not in repr(token)


def test_a_token_names_the_one_it_was_made_with() -> None:
    """The id of a token made with an API token is the id of that one, whose revocation ends it."""
    root = "gqt_1"
    assert _SIGNER.principal_of(_sign(root=root)).token_id == root


def test_the_secret_can_be_changed() -> None:
    """While two secrets are set the first one signs, and tokens of both are valid."""
    both = AccessTokenSigner([_NEW_SECRET, _SECRET], "main")
    new = AccessTokenSigner([_NEW_SECRET], "main")
    assert both.principal_of(_sign()).subject == "alice"
    assert new.principal_of(_sign(both)).subject == "alice"
    with pytest.raises(InvalidAccessTokenError):
        _SIGNER.principal_of(_sign(both))


def _parts(token: str) -> list[str]:
    return token.split(".")


def _encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _key(secret: str = _SECRET) -> bytes:
    return hmac.digest(secret.encode(), b"gql-api access token", "sha256")


def _signed(key: bytes, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    header = {**jwt.get_unverified_header(_sign()), **(headers or {})}
    claims = {**jwt.decode(_sign(), options={"verify_signature": False}), **changes}
    return jwt.encode(claims, key, "HS256", {name: header[name] for name in ("typ", "kid")})


def _refused() -> Iterator[tuple[str, str]]:
    header, claims, signature = _parts(_sign())
    more = jwt.decode(_sign(), options={"verify_signature": False})
    more["grant"]["scopes"].append("ADMIN")
    yield "tampered", ".".join([header, _encoded(more), signature])
    yield "no signature", f"{header}.{claims}."
    yield "no algorithm", ".".join([_encoded({"alg": "none", "typ": "gql-api-access+jwt"}), _encoded(more), ""])
    kid = jwt.get_unverified_header(_sign())["kid"]
    yield "alg none", ".".join([_encoded({"alg": "none", "typ": "gql-api-access+jwt", "kid": kid}), _encoded(more), ""])
    yield "another key", _sign(AccessTokenSigner([_NEW_SECRET], "main"))
    yield "the secret as the key", _signed(_SECRET.encode())
    yield "another kid", _signed(_key(), {"kid": "x"})
    yield "another deployment", _sign(AccessTokenSigner([_SECRET], "other"))
    yield "another issuer", _signed(_key(), iss="other")
    yield "expired", _sign(seconds=-1)
    yield "no expiry", _signed(_key(), exp=None)
    yield "an unknown restriction", _signed(_key(), grant={"scopes": [], "weekdays": [1]})
    yield "a filter of statuses", _signed(_key(), grant={"scopes": [], "filter": {"statuses": ["QUEUED"]}})
    yield "no grant", _signed(_key(), grant=None)
    yield "no subject", _signed(_key(), sub=None)
    yield "no token", "x"
    yield "surrogates", "\ud800.\ud800.\ud800"
    yield "deep", ".".join([base64.urlsafe_b64encode(b"[" * 3000).decode(), "", ""])


@pytest.mark.parametrize(("_why", "token"), [pytest.param(*each, id=each[0]) for each in _refused()])
def test_a_token_that_is_not_ours_is_refused(_why: str, token: str) -> None:
    """Whatever is changed in a token, whoever signed it otherwise, and after its time: it is not valid."""
    with pytest.raises(InvalidAccessTokenError):
        _SIGNER.principal_of(token)


def test_the_key_of_the_tests_is_that_of_the_signer() -> None:
    """A token with the claims of a valid one is valid: it is the changes for which the others are refused."""
    assert _SIGNER.principal_of(_signed(_key())).subject == "alice"


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "gqt_1_2", "\ud800", "[" * 4000, jwt.encode({"sub": "alice"}, "x" * 32)]
)
def test_other_tokens_are_not_recognised(token: str) -> None:
    """Only tokens with our type are access tokens: others go to the verifier of JSON Web Tokens."""
    assert not is_access_token(token)


def test_a_token_fits_into_a_header() -> None:
    """A grant that makes a token too long for a header is refused, and so is such a token."""
    grant = Grant(_GRANT.scopes, None, Restrictions(metadata={"text": "x" * MAX_BYTES}))
    with pytest.raises(OversizedTokenError, match="at most 4096"):
        _SIGNER.sign("alice", None, grant, datetime.now(UTC) + timedelta(seconds=60), None)
    assert not is_access_token(_sign() + "x" * MAX_BYTES)


def test_a_scope_of_a_later_version_gives_nothing() -> None:
    """A process of this version leaves out the scopes that it does not have."""
    assert read_grant({"scopes": ["ADMIN", "FLY"]}).scopes == {Scope.ADMIN}


def test_the_purpose_is_part_of_the_key() -> None:
    """The signature is not one under ACCESS_SECRET itself, with which other parts of the product sign."""
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(_sign(), _SECRET, algorithms=["HS256"], audience="main")
