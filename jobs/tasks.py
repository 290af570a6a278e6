"""The task functions of this checkout: the bundled one, and yours."""

from __future__ import annotations

from gql_api.worker.bundled import long_running_task

__all__ = ["long_running_task"]
