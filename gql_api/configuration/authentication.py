"""The settings that decide which callers the API accepts. docs/security.md explains them."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings

from gql_api.addresses import is_loopback, origin
from gql_api.configuration.names import Names

_ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# A key has to be as long as the hash (RFC 7518, 3.2).
_SYMMETRIC = {"HS256": 32, "HS384": 48, "HS512": 64}
_DEFAULT_ASYMMETRIC = ("RS256", "PS256", "ES256", "EdDSA")
_DEFAULT_SYMMETRIC = ("HS256",)
_MIN_SECRET_LENGTH = 32
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def _jwks_url(url: str) -> str:
    if not url:
        return url
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("expected an address like https://issuer.example.com/jwks.json") from None
    if parts.username is not None or parts.fragment or not host:
        raise ValueError("expected an address like https://issuer.example.com/jwks.json, without a user or a fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(host)):
        raise ValueError("the address has to begin with https://, because whoever can change the keys can make tokens")
    return url


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or is_loopback(host)
    except ValueError:
        return False


def _algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in (*_ASYMMETRIC, *_SYMMETRIC)]
    if unknown:
        raise ValueError(f"expected names out of {', '.join((*_ASYMMETRIC, *_SYMMETRIC))}, not {unknown[0]!r}")
    return names


def _oidc_scope(scope: str) -> str:
    if "openid" not in scope.split():
        raise ValueError("openid has to be one of the scopes")
    return scope


def _function(path: str) -> str:
    if path and not _FUNCTION.fullmatch(path):
        raise ValueError(f"expected package.module:function, not {path!r}")
    return path


class AuthenticationSettings(BaseSettings):
    """The settings of authentication: which tokens the API accepts, and what their claims mean."""

    # Who may call.
    auth: Literal["", "none"] = Field(
        default="",
        description="`none` says that the API has no authentication, which only trusted clients may reach. Otherwise "
        "the other settings decide: any of `JWT_JWKS_URL`, `JWT_SECRET`, `API_TOKENS`, `ACCESS_SECRET` and "
        "`AUTHENTICATE` turns authentication on.",
    )
    allow_unauthenticated: bool = Field(
        default=False,
        description="`yes`, together with `AUTH=none`, lets an API without authentication listen on an address other "
        "than loopback.",
    )
    api_tokens: bool = Field(
        default=False,
        description="Turns authentication on for an API whose only tokens are its own: API tokens, and access tokens "
        "if there is an `ACCESS_SECRET`.",
    )
    authenticate: Annotated[str, AfterValidator(_function)] = Field(
        default="",
        description="A function of yours that authenticates requests, as `package.module:function`.",
    )
    # JSON Web Tokens.
    jwt_jwks_url: Annotated[str, AfterValidator(_jwks_url)] = Field(
        default="",
        description="The address of the public keys of an issuer of JSON Web Tokens (its `jwks_uri`), by https. Needs "
        "`JWT_ISSUER`.",
    )
    jwt_secret: str = Field(
        default="",
        repr=False,
        description="The secret that signs JSON Web Tokens, of at least 32 bytes, in place of `JWT_JWKS_URL`.",
    )
    jwt_issuer: str = Field(default="", description="The issuer that tokens must have in the claim `iss`.")
    jwt_audience: Names = Field(
        default=(),
        description="The audiences, separated by commas, of which tokens must have one in the claim `aud`. Without "
        "this setting, tokens for an audience are refused.",
    )
    jwt_algorithms: Annotated[Names, AfterValidator(_algorithms)] = Field(
        default=(),
        description="The algorithms that may sign tokens, separated by commas: with `JWT_JWKS_URL` by default "
        "`RS256,PS256,ES256,EdDSA`, with `JWT_SECRET` `HS256`.",
    )
    jwt_leeway_seconds: float = Field(
        default=10.0,
        ge=0.0,
        le=300.0,
        description="How far the clocks of the issuer and of the API may differ. Streams end at the time that the "
        "token names, without it.",
    )
    jwt_subject_claim: str = Field(
        default="sub", min_length=1, description="The claim with the subject, who owns the tasks that it creates."
    )
    jwt_scopes_claim: str = Field(
        default="scope",
        min_length=1,
        description="The claim with the scopes: a text with spaces between them, or a list. `tasks:read`, `tasks.read` "
        "and `TASKS_READ` are the same scope.",
    )
    jwt_scopes_prefix: str = Field(
        default="",
        description="The beginning of the scopes that are meant for this API, like `gql-api/`. All others are ignored.",
    )
    jwt_default_scopes: Names = Field(
        default=(),
        description="The scopes, separated by commas, of tokens without the claim of scopes. By default they have "
        "none.",
    )
    jwt_tenant_claim: str = Field(
        default="", description="The claim with the tenant. Tokens without it are refused, if it is set."
    )
    jwt_filter_claim: str = Field(
        default="",
        description="The claim with a filter, in JSON like the input `TaskFilter`, that narrows what the token sees. "
        "Tokens without the claim are not narrowed.",
    )
    jwt_restrictions_claim: str = Field(
        default="",
        description="The claim with an object that restricts the tasks that the token creates, with the fields "
        "`names`, `queues`, `minPriority`, `maxTimeLimitSeconds` and `metadata`. Tokens without it are not restricted.",
    )

    # Sign-in of browsers.
    oidc_client_id: str = Field(
        default="",
        description="The id by which the issuer in `JWT_ISSUER` knows the board and the playground. Their users then "
        "sign in there, by OpenID Connect.",
    )
    oidc_scope: Annotated[str, AfterValidator(_oidc_scope)] = Field(
        default="openid",
        description="The scopes, separated by spaces, that the pages ask the issuer for. `openid` has to be among "
        "them. With `offline_access`, many issuers renew tokens without a new sign-in.",
    )

    @field_validator("jwt_secret")
    @classmethod
    def _check_secret(cls, secret: str) -> str:
        if secret and len(secret.encode()) < _MIN_SECRET_LENGTH:
            raise ValueError(f"at least {_MIN_SECRET_LENGTH} bytes needed, got {len(secret.encode())}")
        return secret

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        fields = type(self).model_fields
        lonely = sorted(
            name.upper() for name in fields if name.startswith("jwt_") and getattr(self, name) != fields[name].default
        )
        if lonely and not self.has_json_web_tokens:
            raise ValueError(f"{lonely[0]} has no effect without JWT_JWKS_URL or JWT_SECRET: set one of them")
        if self.jwt_jwks_url and self.jwt_secret:
            raise ValueError("JWT_JWKS_URL and JWT_SECRET: set one of them, because keys of one must not verify both")
        if self.jwt_jwks_url and not self.jwt_issuer:
            raise ValueError("JWT_ISSUER: name the issuer whose keys JWT_JWKS_URL has")
        self._check_sign_in()
        allowed = _SYMMETRIC if self.jwt_secret else _ASYMMETRIC
        for name in self.jwt_algorithms if self.has_json_web_tokens else ():
            if name not in allowed:
                source = "JWT_SECRET" if self.jwt_secret else "JWT_JWKS_URL"
                raise ValueError(f"JWT_ALGORITHMS: {source} does not go with {name}, but with {', '.join(allowed)}")
        needed = max((_SYMMETRIC.get(name, 0) for name in self.jwt_algorithms), default=0)
        if self.jwt_secret and len(self.jwt_secret.encode()) < needed:
            raise ValueError(f"JWT_SECRET: at least {needed} bytes needed for {', '.join(self.jwt_algorithms)}")
        return self

    def _check_sign_in(self) -> None:
        if self.oidc_client_id and not self.jwt_jwks_url:
            raise ValueError("OIDC_CLIENT_ID has no effect without JWT_JWKS_URL and JWT_ISSUER: set all three")
        if self.oidc_client_id and self.sign_in_origin is None:
            raise ValueError(
                "JWT_ISSUER: OIDC_CLIENT_ID needs an issuer with an address that begins with https://, where browsers "
                f"sign in, not {self.jwt_issuer!r}"
            )

    @property
    def sign_in_origin(self) -> str | None:
        """The origin at which browsers sign in: that of the issuer, if the pages are known to it."""
        if not self.oidc_client_id:
            return None
        parts = urlsplit(self.jwt_issuer)
        try:
            issuer = origin(f"{parts.scheme}://{parts.netloc}")
        except ValueError:
            return None
        return issuer if parts.scheme == "https" or _is_this_machine(parts.hostname or "") else None

    @property
    def has_json_web_tokens(self) -> bool:
        """True if the API accepts JSON Web Tokens."""
        return bool(self.jwt_jwks_url or self.jwt_secret)

    @property
    def token_algorithms(self) -> tuple[str, ...]:
        """The algorithms that may sign JSON Web Tokens."""
        return self.jwt_algorithms or (_DEFAULT_SYMMETRIC if self.jwt_secret else _DEFAULT_ASYMMETRIC)
