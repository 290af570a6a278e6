"""The events of changes that the API stores."""

from __future__ import annotations

import asyncio

import pytest
from front import Front

from gql_api.api.commands.changes import Changes
from gql_api.record.model import NewTask


async def test_many_events_at_once_wait_for_connections(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    """However many calls publish at the same time, Redis receives all of their events."""
    document = await front.services.store.create(NewTask(id="task", name="add"))
    changes = Changes(front.services.store, front.services.redis)
    await asyncio.gather(*(changes.announce([document]) for _ in range(300)))
    # On a busy machine others log too: the watchdog, that the loop was slow; a thread that an earlier test left.
    assert not [each for each in caplog.records if each.name == "gql_api.api.commands.changes"]
