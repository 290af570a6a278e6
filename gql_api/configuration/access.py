"""The settings that decide who may use the API. docs/security.md explains them."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

_MIN_SECRET_LENGTH = 32
_MAX_SECRETS = 2


class AccessSettings(BaseSettings):
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

    # Metrics
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="A port of its own for `/metrics`, without a token, which `gql-api serve` opens. 0 for none.",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address on which that port listens.",
    )

    # Audit log
    audit_retention_days: float = Field(
        default=365.0,
        ge=0.0,
        le=36500.0,
        description="How many days MongoDB keeps an entry of the audit log. 0 keeps them forever.",
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


def _parts(secret: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in secret.split(",")) if secret else ()
