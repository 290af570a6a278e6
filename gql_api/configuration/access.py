"""The settings that decide who may use the API. docs/security.md explains them."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class AccessSettings(BaseSettings):
    """The access control of a deployment: a part of its settings."""

    access_secret: str = Field(
        default="",
        repr=False,
        description="A secret of at least 32 characters, the same for all processes. It signs the access tokens that "
        "the API issues and the owners that other programs give to tasks.",
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
