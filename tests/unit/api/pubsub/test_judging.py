"""Mailboxes of watchers that do not see all tasks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from gql_api.access.visibility import EVERYTHING, visibility_of
from gql_api.api.pubsub.judging import JudgingLogMailbox, JudgingMailbox, log_mailbox_for, mailbox_for
from gql_api.query.filter import MetadataCondition, Operator, TaskFilter
from gql_api.record.logs import LogBatch
from gql_api.record.reads import TaskRecord

_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_OWN = visibility_of("alice", "acme")
_CUSTOMER = _OWN.and_also(TaskFilter(metadata=[MetadataCondition("customer", {Operator.EQ: 1})]))


def _record(
    revision: int, customer: int = 1, owner: str = "alice", omitted: frozenset[str] = frozenset()
) -> TaskRecord:
    document = {
        "_id": "t",
        "revision": revision,
        "status": "STARTED",
        "owner": owner,
        "tenant": "acme",
        "metadata": {"customer": customer},
        "updated_at": _TIME + timedelta(seconds=revision),
    }
    return TaskRecord(document, omitted)


def _put(mailbox: JudgingMailbox | JudgingLogMailbox, record: TaskRecord) -> bool:
    return mailbox.put(record, record.version)


def test_who_sees_everything_has_a_plain_mailbox() -> None:
    """Nothing is compared for those who see all tasks."""
    assert not isinstance(mailbox_for(EVERYTHING), JudgingMailbox)
    assert not isinstance(log_mailbox_for(EVERYTHING), JudgingLogMailbox)
    assert isinstance(mailbox_for(_OWN), JudgingMailbox)
    assert isinstance(log_mailbox_for(_OWN), JudgingLogMailbox)


async def test_a_hidden_task_neither_comes_nor_ends() -> None:
    """Its records are dropped, and its deletion is that of no task, unless it was visible at last."""
    mailbox = JudgingMailbox(_CUSTOMER)
    waiting = asyncio.create_task(mailbox.take())
    assert not _put(mailbox, _record(1, customer=2))
    mailbox.delete()
    mailbox.delete(_record(2, customer=2))
    mailbox.delete(_record(2, omitted=frozenset({"metadata"})))
    await asyncio.sleep(0)
    assert not waiting.done()
    mailbox.delete(_record(2))
    assert await waiting is None


async def test_a_record_that_waits_when_its_task_leaves_is_dropped() -> None:
    """The watcher ends at once, and what comes later does not reach it."""
    mailbox = JudgingMailbox(_CUSTOMER)
    assert _put(mailbox, _record(1))
    assert not _put(mailbox, _record(2, customer=2))
    assert not _put(mailbox, _record(3))
    assert await mailbox.take() is None


async def test_a_state_that_is_older_than_a_hidden_one_ends_the_watch() -> None:
    """A snapshot may have read the task before it left, and come after the event of that."""
    mailbox, log = JudgingMailbox(_CUSTOMER), JudgingLogMailbox(_CUSTOMER)
    for each in (mailbox, log):
        assert not _put(each, _record(2, customer=2)) or each is log
        assert not _put(each, _record(1))
    assert await mailbox.take() is None
    assert log.has_left


def test_an_unknown_field_that_decides_is_an_error() -> None:
    """The feed reads MongoDB then; an owner is never unknown."""
    with pytest.raises(LookupError):
        _put(JudgingMailbox(_CUSTOMER), _record(1, omitted=frozenset({"metadata"})))
    assert not _put(JudgingMailbox(_CUSTOMER), _record(1, owner="bob", omitted=frozenset({"metadata"})))
    assert _put(JudgingMailbox(_OWN), _record(1, omitted=frozenset({"metadata"})))


async def test_lines_of_a_hidden_task_are_dropped() -> None:
    """Neither lines, nor counts, nor a reconnect wake its watcher; lines that may be hidden are read, not received."""
    log = JudgingLogMailbox(_CUSTOMER)
    _put(log, _record(1, customer=2))
    waiting = asyncio.create_task(log.take())
    log.put_lines(LogBatch(1, 1, ()))
    log.compare_count(5)
    log.read_again()
    log.delete(_record(1, customer=2))
    await asyncio.sleep(0)
    assert not waiting.done()
    _put(log, _record(2))
    assert await waiting is None
    log.put_lines(LogBatch(2, 2, ()))
    assert await log.take() is None
    own = JudgingLogMailbox(_OWN)
    _put(own, _record(1))
    assert await own.take() is None
    for number in (1, 2):
        own.put_lines(LogBatch(number, number, ()))
    assert await own.take() is None
    own.put_lines(LogBatch(3, 3, ()))
    assert await own.take() == []
