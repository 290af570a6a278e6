"""The settings of authentication: what they turn on, and which cannot work."""

from __future__ import annotations

from typing import cast

import pytest

from gql_api.access import Principal, Scope
from gql_api.api.authentication.authenticator import AuthenticationUnavailableError
from gql_api.api.authentication.configured import ConfiguredAuthentication
from gql_api.api.authentication.custom import CustomAuthentication
from gql_api.settings import Settings, SettingsError

_SECRET = "s" * 32
_JWKS = {"JWT_JWKS_URL": "https://issuer.example.com/jwks", "JWT_ISSUER": "https://issuer.example.com/"}


@pytest.mark.parametrize(
    "path", ["no_such_module:f", "own_authentication:missing", "own_authentication:NOT_A_FUNCTION"]
)
def test_a_function_that_is_not_there_stops_the_start(path: str) -> None:
    """The error names the setting."""
    with pytest.raises(SettingsError, match=r"^AUTHENTICATE: "):
        ConfiguredAuthentication(Settings(authenticate=path))


@pytest.mark.parametrize(
    ("variables", "is_required"),
    [
        ({}, False), ({"AUTH": "none"}, False), ({"AUTH": "none", "ALLOW_UNAUTHENTICATED": "yes"}, False),
        ({"ALLOW_UNAUTHENTICATED": "yes"}, False), ({"JWT_SECRET": _SECRET}, True), (_JWKS, True),
        ({"ACCESS_SECRET": _SECRET}, True), ({"API_TOKENS": "on"}, True), ({"AUTHENTICATE": "a.b:c"}, True),
        ({**_JWKS, "JWT_JWKS_URL": "http://127.0.0.1:1/"}, True), ({**_JWKS, "JWT_JWKS_URL": "http://[::1]:1/"}, True),
    ],
    ids=str,
)  # fmt: skip
async def test_the_settings_say_whether_a_token_is_needed(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_required: bool
) -> None:
    """Any source of tokens turns authentication on."""
    assert _load(monkeypatch, variables).requires_authentication is is_required


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"AUTH": "jwt"}, "AUTH: Input should be"),
        ({"AUTH": "none", "JWT_SECRET": _SECRET}, "AUTH: none contradicts the settings .*: JWT_SECRET$"),
        ({"AUTH": "none", **_JWKS}, "AUTH: none contradicts"),
        ({"AUTH": "none", "ACCESS_SECRET": _SECRET}, "AUTH: none contradicts"),
        ({"AUTH": "none", "AUTHENTICATE": "a:b"}, "AUTH: none contradicts"),
        ({"JWT_SECRET": "s" * 31}, "JWT_SECRET: at least 32 bytes needed, got 31$"),
        ({"JWT_SECRET": _SECRET, "JWT_ALGORITHMS": "HS256,HS512"}, "JWT_SECRET: at least 64 bytes needed"),
        ({"ACCESS_SECRET": "s" * 31}, "ACCESS_SECRET: at least 32 characters needed, got 31$"),
        ({"JWT_SECRET": _SECRET, **_JWKS}, "JWT_JWKS_URL and JWT_SECRET: set one of them"),
        ({"JWT_SECRET": _SECRET, "JWT_ALGORITHMS": "RS256"}, "JWT_ALGORITHMS: JWT_SECRET does not go with RS256"),
        ({**_JWKS, "JWT_ALGORITHMS": "RS256,HS256"}, "JWT_ALGORITHMS: JWT_JWKS_URL does not go with HS256"),
        ({**_JWKS, "JWT_ALGORITHMS": "none"}, "JWT_ALGORITHMS: expected names out of .*, not 'none'"),
        ({**_JWKS, "JWT_ISSUER": ""}, "JWT_ISSUER: name the issuer"),
        ({**_JWKS, "JWT_JWKS_URL": "http://issuer.example.com/"}, "JWT_JWKS_URL: the address has to begin with https"),
        ({**_JWKS, "JWT_JWKS_URL": "http://127.0.0.1.example.com/"}, "JWT_JWKS_URL: the address has to begin"),
        ({**_JWKS, "JWT_JWKS_URL": "file:///etc/passwd"}, "JWT_JWKS_URL: expected an address"),
        ({**_JWKS, "JWT_JWKS_URL": "https://user:pass@a/"}, "JWT_JWKS_URL: expected an address"),
        ({"JWT_AUDIENCE": "a"}, "JWT_AUDIENCE has no effect without JWT_JWKS_URL or JWT_SECRET"),
        ({**_JWKS, "OIDC_CLIENT_ID": "a", "OIDC_SCOPE": "offline_access"}, "OIDC_SCOPE: openid has to be one"),
        ({**_JWKS, "OIDC_CLIENT_ID": "a", "JWT_ISSUER": "shop"}, "JWT_ISSUER: OIDC_CLIENT_ID needs an issuer"),
        ({**_JWKS, "OIDC_CLIENT_ID": "a", "JWT_ISSUER": "http://a.test/"}, "JWT_ISSUER: OIDC_CLIENT_ID needs"),
        ({**_JWKS, "OIDC_CLIENT_ID": "a", "JWT_ISSUER": "https://a.test; script-src x/"}, "JWT_ISSUER: OIDC_CLIENT_ID"),
        ({"JWT_SECRET": _SECRET, "OIDC_CLIENT_ID": "a"}, "OIDC_CLIENT_ID has no effect without JWT_JWKS_URL"),
        ({"OIDC_CLIENT_ID": "a"}, "OIDC_CLIENT_ID has no effect without JWT_JWKS_URL and JWT_ISSUER"),
        ({"AUTHENTICATE": "module"}, "AUTHENTICATE: expected package.module:function"),
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], error: str
) -> None:
    """The process does not start, and the error names the variable and no secret."""
    with pytest.raises(SettingsError, match=f"^{error}") as refused:
        _load(monkeypatch, variables)
    assert "sss" not in str(refused.value)
    assert "pass@" not in str(refused.value)


@pytest.mark.parametrize(
    "principal",
    [
        Principal(None, frozenset()), Principal("", frozenset()), Principal(cast("str", 7), frozenset()),
        Principal("ann", cast("frozenset[Scope]", [Scope.ADMIN])), Principal("ann", cast("frozenset[Scope]", "ADMIN")),
    ],
    ids=str,
)  # fmt: skip
async def test_a_function_that_returns_half_a_principal_lets_nobody_in(principal: Principal) -> None:
    """A caller without a subject would be taken for one of an API without authentication."""
    authentication = CustomAuthentication(lambda _headers: principal, 5)
    with pytest.raises(AuthenticationUnavailableError):
        await authentication.verify({})
    authentication.close()


def _load(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings.load()
