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
