"""The settings that decide who may use the API. docs/security.md explains them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from gql_api.configuration.authentication import AuthenticationSettings

_MIN_SECRET_LENGTH = 32


class AccessSettings(AuthenticationSettings):
    """The access control of a deployment: a part of its settings."""

    access_secret: str = Field(
        default="",
        repr=False,
        description="A secret of at least 32 characters, the same for all processes. It signs the access tokens that "
        "the API issues and the owners that other programs give to tasks.",
    )

    @field_validator("access_secret")
    @classmethod
    def _check_access_secret(cls, secret: str) -> str:
        if secret and len(secret) < _MIN_SECRET_LENGTH:
            raise ValueError(f"at least {_MIN_SECRET_LENGTH} characters needed, got {len(secret)}")
        return secret

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
