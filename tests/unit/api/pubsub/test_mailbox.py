from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from support import taken

from gql_api.api.pubsub.mailbox import LogMailbox, Mailbox
from gql_api.record.logs import LogBatch, LogLevel, LogLine
from gql_api.record.reads import TaskRecord


def _record(revision: int, status: str = "STARTED", seconds: float | None = None) -> TaskRecord:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=revision if seconds is None else seconds)
    return TaskRecord({"_id": "t", "revision": revision, "status": status, "updated_at": at})


def _put(mailbox: Mailbox | LogMailbox, record: TaskRecord) -> bool:
    return mailbox.put(record, record.version)


async def test_a_slow_watcher_gets_the_newest_only() -> None:
    """However many records came, one waits, and it is the newest."""
    mailbox = Mailbox()
    for revision in (1, 2, 5, 4, 5, 3):
        _put(mailbox, _record(revision))
    assert (await taken(mailbox)).revision == 5
    assert not _put(mailbox, _record(5))
    assert _put(mailbox, _record(6))
    assert (await taken(mailbox)).revision == 6


async def test_taking_waits_for_news() -> None:
    """An empty mailbox holds its watcher until something newer comes."""
    mailbox = Mailbox()
    _put(mailbox, _record(1))
    await mailbox.take()
    waiting = asyncio.create_task(mailbox.take())
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    _put(mailbox, _record(2))
    news = await waiting
    assert news is not None
    assert news.revision == 2


async def test_a_deletion_comes_after_what_was_left() -> None:
    """Who has not taken the last record gets it, and hears then that there will be none."""
    mailbox = Mailbox()
    _put(mailbox, _record(1))
    mailbox.delete()
    assert (await taken(mailbox)).revision == 1
    assert await asyncio.wait_for(mailbox.take(), 5) is None


async def test_what_comes_for_one_who_was_cancelled_is_kept() -> None:
    """News between the cancellation of the one who takes and its end breaks nothing, and the next one has it."""
    mailbox = Mailbox()
    waiting = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    waiting.cancel()
    _put(mailbox, _record(1))
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await taken(mailbox)).revision == 1


async def test_records_are_handed_over_while_the_watcher_waits() -> None:
    """The newest of a turn is given to the function; what that does not accept wakes the one who takes."""
    mailbox, handed, due = Mailbox(), list[int](), list[Callable[[], None]]()

    def accept(record: TaskRecord) -> bool:
        handed.append(record.revision)
        return record.status == "STARTED"

    mailbox.deliver_directly(due.append, accept)
    _put(mailbox, _record(1))
    assert (await taken(mailbox)).revision == 1
    waiting = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    for revision in (2, 3):
        _put(mailbox, _record(revision))
    (end_of_turn,) = due
    end_of_turn()
    assert handed == [3]
    _put(mailbox, _record(4, "SUCCESS"))
    due.pop()()
    news = await asyncio.wait_for(waiting, 5)
    assert news is not None
    assert (news.revision, handed) == (4, [3, 4])


async def test_nothing_is_handed_over_before_what_the_watcher_has_in_hand() -> None:
    """While the one who takes is busy with a record, newer ones wait for it: none is told before an older one."""
    mailbox, handed, due = Mailbox(), list[TaskRecord](), list[Callable[[], None]]()

    def accept(record: TaskRecord) -> bool:
        handed.append(record)
        return True

    mailbox.deliver_directly(due.append, accept)
    _put(mailbox, _record(1))
    assert (await taken(mailbox)).revision == 1
    _put(mailbox, _record(2))
    assert (handed, due) == ([], [])
    waiting = asyncio.create_task(mailbox.take())
    news = await asyncio.wait_for(waiting, 5)
    assert news is not None
    assert news.revision == 2


async def test_the_end_is_news_at_a_revision_that_was_used_before() -> None:
    """MongoDB lost the progress that was announced, and the end has its revision: the watcher receives the end."""
    mailbox = Mailbox()
    _put(mailbox, _record(3))
    assert await taken(mailbox)
    for lost_revisions in range(2):
        end = _record(3 - lost_revisions, "SUCCESS", seconds=30 + lost_revisions)
        log = LogMailbox()
        _put(log, _record(3))
        assert _put(log, end)
        assert log.is_final
        if not lost_revisions:
            assert _put(mailbox, end)
    assert (await taken(mailbox)).is_final
    assert not _put(mailbox, _record(4, "STARTED", seconds=60))


async def test_the_next_change_is_news_after_a_loss() -> None:
    """A mailbox that continues from an earlier version receives the next change, and delivers nothing before."""
    mailbox = Mailbox()
    _put(mailbox, _record(7))
    assert (await taken(mailbox)).revision == 7
    mailbox.rebase(_record(4).version)
    assert not _put(mailbox, _record(4))
    assert _put(mailbox, _record(5, seconds=60))
    assert (await taken(mailbox)).revision == 5


async def test_a_correction_replaces_what_waits() -> None:
    """The truth is delivered though its revision is lower, and the lost record in front of it is not."""
    mailbox = Mailbox()
    _put(mailbox, _record(7))
    mailbox.correct(_record(2, "QUEUED"))
    assert (await taken(mailbox)).revision == 2
    assert _put(mailbox, _record(3, seconds=60))


async def test_what_a_watcher_has_read_itself_is_not_delivered_again() -> None:
    """Neither the record that waits is, when it is older, nor the event of what was read."""
    mailbox = Mailbox()
    _put(mailbox, _record(2))
    mailbox.skip(_record(3).version)
    assert not _put(mailbox, _record(3))
    _put(mailbox, _record(4))
    mailbox.skip(_record(3).version)
    assert (await taken(mailbox)).revision == 4


def _batch(first: int, until: int) -> LogBatch:
    now = datetime.now(UTC)
    return LogBatch(first, until, tuple(LogLine(n, now, LogLevel.INFO, str(n)) for n in range(first, until + 1)))


async def _positions(mailbox: LogMailbox) -> list[int] | None:
    lines = await asyncio.wait_for(mailbox.take(), 5)
    return None if lines is None else [line.position for line in lines]


async def _begun() -> LogMailbox:
    mailbox = LogMailbox()
    mailbox.put_lines(_batch(1, 2))
    assert await _positions(mailbox) is None  # what was before the first batch is not known
    return mailbox


async def test_lines_that_follow_each_other_are_handed_over() -> None:
    """What comes without a gap needs no read."""
    mailbox = await _begun()
    mailbox.put_lines(_batch(3, 4))
    mailbox.put_lines(_batch(5, 5))
    assert await _positions(mailbox) == [3, 4, 5]


async def test_a_missing_batch_lets_mongodb_be_read() -> None:
    """A gap drops what waits, once; a batch that comes twice is none."""
    mailbox = await _begun()
    mailbox.put_lines(_batch(3, 4))
    mailbox.put_lines(_batch(6, 7))
    mailbox.put_lines(_batch(8, 8))
    assert await _positions(mailbox) is None
    mailbox.put_lines(_batch(8, 8))
    mailbox.put_lines(_batch(9, 9))
    assert await _positions(mailbox) == [8, 9]


async def test_lines_left_out_of_an_event_are_read() -> None:
    """A batch that was too large for an event is in MongoDB."""
    mailbox = await _begun()
    mailbox.put_lines(LogBatch(3, 9))
    assert await _positions(mailbox) is None
    mailbox.put_lines(_batch(10, 10))
    assert await _positions(mailbox) == [10]


async def test_a_slow_watcher_of_a_log_costs_bounded_memory() -> None:
    """However many batches came, a few wait at most, and then none."""
    mailbox = await _begun()
    for first in range(3, 1003):
        mailbox.put_lines(_batch(first, first))
        assert len(mailbox._batches) <= 8  # noqa: SLF001 - what is tested
    assert await _positions(mailbox) is None


async def test_a_longer_log_than_was_heard_of_is_read() -> None:
    """What the backstop counts lets MongoDB be read only when lines are missing."""
    mailbox = await _begun()
    mailbox.compare_count(2)
    mailbox.put_lines(_batch(3, 3))
    assert await _positions(mailbox) == [3]
    mailbox.compare_count(4)
    assert await _positions(mailbox) is None


async def test_the_end_of_the_task_wakes_who_watches_its_log() -> None:
    """A final record is heard at any time, and nothing is waited for after it."""
    mailbox = await _begun()
    finals = []
    for revision, status in ((2, "STARTED"), (3, "SUCCESS")):
        assert _put(mailbox, _record(revision, status))
        finals.append(mailbox.is_final)
    assert finals == [False, True]
    assert await _positions(mailbox) is None
    assert not _put(mailbox, _record(3, "SUCCESS"))
