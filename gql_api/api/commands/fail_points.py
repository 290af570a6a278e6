"""The points at which a test can let the API process die, as in a power cut."""

from __future__ import annotations

import functools
import os
import signal

from gql_api.settings import FaultSettings

# A task is stored, and its message is not published.
CREATED = "created"
# Its message is published, and the caller has no answer.
PUBLISHED = "published"


def reached(point: str) -> None:
    """Kill this process if a test has chosen this point."""
    if _settings().fails_at(point):
        os.kill(os.getpid(), signal.SIGKILL)


@functools.cache
def _settings() -> FaultSettings:
    return FaultSettings()
