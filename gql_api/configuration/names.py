"""Settings that are several names, separated by commas."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode


def _split(names: str | tuple[str, ...]) -> tuple[str, ...]:
    parts = names.split(",") if isinstance(names, str) else names
    return tuple(part.strip() for part in parts if part.strip())


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
