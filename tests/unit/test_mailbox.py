from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from gql_api.mailbox import Mailbox
from jobs.record.reads import TaskRecord


def _record(revision: int) -> TaskRecord:
    now = datetime.now(UTC)
    return TaskRecord({"_id": "t", "revision": revision, "status": "STARTED", "updated_at": now})


async def test_a_slow_watcher_gets_the_newest_only() -> None:
    """However many records came, one waits, and it is the newest."""
    mailbox = Mailbox()
    for revision in (1, 2, 5, 4, 5, 3):
        mailbox.put(_record(revision))
    assert (await mailbox.take()).revision == 5
    assert not mailbox.put(_record(5))
    assert mailbox.put(_record(6))
    assert (await mailbox.take()).revision == 6


async def test_taking_waits_for_news() -> None:
    """An empty mailbox holds its watcher until something newer comes."""
    mailbox = Mailbox()
    mailbox.put(_record(1))
    await mailbox.take()
    waiting = asyncio.create_task(mailbox.take())
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    mailbox.put(_record(2))
    assert (await waiting).revision == 2
