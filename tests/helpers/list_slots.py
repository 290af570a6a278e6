"""Lists that give up waiting for slots soon, while calls of MongoDB may take as long as a loaded machine needs."""

from __future__ import annotations

import pytest
from front import Front


def wait_for_slots(front: Front, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the seconds that the lists of an API wait for slots. The ping of MongoDB has half a minute."""
    monkeypatch.setattr(front.services.store.lists.limiter, "_wait_seconds", seconds)
    monkeypatch.setattr("gql_api.api.store.tasks._PING_SECONDS", 30.0)
