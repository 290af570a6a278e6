"""The settings that decide who may use the API. docs/security.md explains them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from gql_api.configuration.authentication import AuthenticationSettings

_MIN_SECRET_LENGTH = 32
_MAX_SECRETS = 2


class AccessSettings(AuthenticationSettings):
    """The access control of a deployment: a part of its settings."""

    access_secret: str = Field(
        default="",
        repr=False,
        description="A secret of at least 32 characters, the same for all processes. It signs the access tokens that "
        "the API issues and the owners that other programs give to tasks. While it is changed, two secrets with a "
        "comma between them: the first signs, and both verify.",
    )

    # The API's own tokens.
    api_tokens: bool = Field(
        default=False,
        description="Turns authentication on for an API whose only tokens are its own: API tokens, and access tokens "
        "if there is an `ACCESS_SECRET`.",
    )
    access_token_max_seconds: int = Field(
        default=86_400,
        ge=1,
        le=366 * 86_400,
        description="The longest time for which `createAccessToken` issues a token.",
    )

    @field_validator("access_secret")
    @classmethod
    def _check_access_secret(cls, secret: str) -> str:
        parts = _parts(secret)
        if len(parts) > _MAX_SECRETS:
            raise ValueError(f"at most {_MAX_SECRETS} secrets allowed, separated by a comma, got {len(parts)}")
        for part in parts:
            if len(part) < _MIN_SECRET_LENGTH:
                raise ValueError(f"at least {_MIN_SECRET_LENGTH} characters needed, got {len(part)}")
        return secret

    @property
    def access_secrets(self) -> tuple[str, ...]:
        """The secrets in ``ACCESS_SECRET``: the first signs, and all verify."""
        return _parts(self.access_secret)

    # Which settings turn authentication on.
    @model_validator(mode="after")
    def _check_authentication(self) -> Self:
        if self.auth == "none" and self.requires_authentication:
            raise ValueError(
                "AUTH: none contradicts the settings that turn authentication on: "
                f"{', '.join(name.upper() for name in self._sources)}"
            )
        return self

    @property
    def requires_authentication(self) -> bool:
        """True if callers need a token, or the consent of the function in ``AUTHENTICATE``."""
        return bool(self._sources)

    @property
    def may_be_reached_by_others(self) -> bool:
        """True if the settings say who may use the API: those with a token, or everybody who can reach it."""
        return self.requires_authentication or (self.auth == "none" and self.allow_unauthenticated)

    @property
    def _sources(self) -> list[str]:
        names = ("jwt_jwks_url", "jwt_secret", "api_tokens", "access_secret", "authenticate")
        return [name for name in names if getattr(self, name)]


def _parts(secret: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in secret.split(",")) if secret else ()
