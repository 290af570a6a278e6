"""The types of fixtures that open the API with other settings, and clients of it that have been authenticated."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import httpx
from front import Front

from gql_api.access.principal import Principal

Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Front]]
Client: TypeAlias = Callable[[Front, Principal], httpx.AsyncClient]
