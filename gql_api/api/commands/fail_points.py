"""The instants at which a test can have the API die as a power cut would have it."""

from __future__ import annotations

import functools
import os
import signal

from gql_api.settings import FaultSettings

# A task is recorded, and its message is not sent.
CREATED = "created"
# Its message is sent, and the caller has no answer.
PUBLISHED = "published"


def reached(point: str) -> None:
    """Go on, unless a test wants this process to end right here."""
    if _settings().fails_at(point):
        os.kill(os.getpid(), signal.SIGKILL)


@functools.cache
def _settings() -> FaultSettings:
    return FaultSettings()
