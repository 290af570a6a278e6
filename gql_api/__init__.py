"""A GraphQL API for Celery: create tasks, read them back, and watch them live.

The public names are imported on first use (PEP 562): a worker never loads the API, nor the API a worker.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gql_api.adopt import Task, TaskCancelledError
    from gql_api.app import create_app
    from gql_api.settings import Settings, SettingsError

__all__ = ["Settings", "SettingsError", "Task", "TaskCancelledError", "create_app"]

# ``app`` and ``celery`` are left out: ``celery -A gql_api`` takes either name for the Celery application.
_MODULES = {
    "Settings": "gql_api.settings",
    "SettingsError": "gql_api.settings",
    "Task": "gql_api.adopt",
    "TaskCancelledError": "gql_api.adopt",
    "create_app": "gql_api.app",
}


def __getattr__(name: str) -> Any:
    """Import a public name.

    Raises:
        AttributeError: the package has no such name.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
