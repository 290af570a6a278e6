"""Principals, what they may do, and which tasks they may see.

The names here are for the function in ``AUTHENTICATE``, and for applications that mount the API. They are loaded when
they are used: a program that only signs owners (:mod:`gql_api.access.owner_signature`) needs none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gql_api.access.principal import Principal, Restrictions, Scope
    from gql_api.query.filter import TaskFilter

__all__ = ["Principal", "Restrictions", "Scope", "TaskFilter"]

_MODULES: Final = {**dict.fromkeys(__all__, "gql_api.access.principal"), "TaskFilter": "gql_api.query.filter"}


def __getattr__(name: str) -> Any:
    """Load a name when it is used for the first time."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
