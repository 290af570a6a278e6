"""The field taskStats: what clients are answered about real lives of tasks, and its limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from front import Front

from gql_api.api.statistics import reading
from gql_api.api.statistics.counting import Counting
from gql_api.record import claims, control, fields, writes
from gql_api.record.fields import Status
from gql_api.record.model import Claim, ErrorInfo, NewTask
from gql_api.record.past import tombstones
from gql_api.record.statistics import buckets
from gql_api.worker.store.tasks import Store

_STATS = """query ($from: DateTime!, $to: DateTime, $seconds: Int!, $by: TaskFacet, $filter: TaskFilter) {
  taskStats(from: $from, to: $to, bucketSeconds: $seconds, by: $by, filter: $filter) {
    at value created succeeded failed revoked
    queueSeconds { p50 p95 p99 max } runSeconds { p50 p95 p99 max }
  }
}"""
_ERROR = ErrorInfo("ValueError", "no")
_NONE = {"p50": None, "p95": None, "p99": None, "max": None}


def _create(worker: Store, *ids: str, **others: Any) -> None:
    for task_id in ids:
        worker.change(writes.create(NewTask(task_id, "add", **others)), upsert=True)


def _claim(worker: Store, task_id: str, attempts: int = 0) -> None:
    assert worker.change(claims.claim(task_id, Claim("m" * 32, "w", "run", 1, 60.0, attempts)))


async def _stats(front: Front, **given: Any) -> list[dict[str, Any]]:
    """Return the statistics of the last minutes, as one bucket."""
    since = datetime.now(UTC) - timedelta(minutes=4)
    rows: list[dict[str, Any]] = (await front.data(_STATS, **{"from": since.isoformat(), "seconds": 3600, **given}))[
        "taskStats"
    ]
    return rows


def _sums(rows: list[dict[str, Any]]) -> tuple[int, ...]:
    return tuple(sum(row[name] for row in rows) for name in ("created", "succeeded", "failed", "revoked"))


async def test_each_task_counts_once_however_it_ends(front: Front, worker: Store) -> None:
    """Retries and lost attempts are no ends, a final state that is written again is none, and a cancel or an expiry is.

    The times are those of the last attempt, and a task that never ran has none.
    """
    _create(worker, "retried", "lost", "failed", "cancelled", "waits")
    _create(worker, "expired", expires_after=-1.0)
    _claim(worker, "retried")
    worker.change(writes.retry("retried", _ERROR, fence=claims.held_by(1)))
    _claim(worker, "retried", 1)
    _claim(worker, "lost")
    worker.change(claims.requeue("lost", claims.held_by(1), "lost", lost=claims.Loss.WORKER))
    _claim(worker, "lost", 1)
    _claim(worker, "failed")
    for _ in range(2):
        worker.change(writes.succeed("retried", 1, fence=claims.held_by(2)))
        worker.change(writes.succeed("lost", 1, fence=claims.held_by(2)))
        worker.change(writes.fail("failed", _ERROR, fence=claims.held_by(1)))
        worker.change(control.cancel_waiting("cancelled", "no"))
        worker.change(claims.expire("expired"))
    expected = (6, 2, 1, 2)
    for _ in range(2):
        rows = await _stats(front)
        assert _sums(rows) == expected
        by_status = {row["value"]: row for row in await _stats(front, by="STATUS")}
        assert by_status["SUCCESS"]["runSeconds"]["max"] is not None
        assert by_status["SUCCESS"]["queueSeconds"]["p50"] is not None
        assert by_status["REVOKED"]["queueSeconds"] == by_status["REVOKED"]["runSeconds"] == _NONE
        assert by_status[None]["created"] == 6
        await Counting(front.services.store, 0.0).count(datetime.now(UTC) + timedelta(minutes=2))
    assert await front.services.store.database[buckets.MINUTES].count_documents({})


async def test_a_chart_gets_every_bucket(front: Front, worker: Store) -> None:
    """Without by, each bucket is there, in its order, also an empty one; with by, only those with tasks."""
    assert _sums(await _stats(front)) == (0, 0, 0, 0)
    assert await _stats(front, by="NAME") == []
    _create(worker, "a")
    noon = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    later = noon + timedelta(minutes=30, seconds=30)
    rows = await _stats(front, **{"from": noon.isoformat(), "to": later.isoformat(), "seconds": 120})
    assert [row["at"] for row in rows] == [noon + timedelta(minutes=2 * number) for number in range(16)]
    assert _sums(rows) == (1, 0, 0, 0)
    assert {row["value"] for row in rows} == {None}
    (row,) = await _stats(front, by="NAME")
    assert (row["value"], row["created"], row["queueSeconds"]) == ("add", 1, _NONE)


async def test_a_deletion_under_way_counts_once(front: Front, worker: Store) -> None:
    """Between its tombstone and the deletion of its record, a task is counted by its record."""
    _create(worker, "a", "b")
    documents = [{fields.ID: "a", fields.NAME: "add", fields.CREATED_AT: datetime.now(UTC)}]
    await front.services.store.database[fields.TOMBSTONES].bulk_write(tombstones.save_tombstones(documents))
    assert _sums(await _stats(front)) == (2, 0, 0, 0)


async def test_the_event_of_a_deletion_has_nothing_for_statistics(front: Front, worker: Store) -> None:
    """What the tombstone keeps for them is not sent to watchers."""
    _create(worker, "a")
    _claim(worker, "a")
    worker.change(writes.succeed("a", 1))
    [(document, _)], _ = await front.services.store.deletions.delete(["a"], front.principal.visibility)
    assert "ended" not in document
    (tombstone,) = await front.services.store.database[fields.TOMBSTONES].find().to_list()
    assert tombstone["ended"]["status"] == Status.SUCCESS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seconds": 61}, "bucketSeconds: must be a multiple of 60, got 61"),
        ({"to": "2020-01-01T00:00:00Z"}, "from: must be before to, which is 2020-01-01T00:00:00+00:00"),
        ({"seconds": 60}, "bucketSeconds: at most 500 buckets between from and to allowed, got "),
        ({"by": "METADATA"}, "by: must be one of STATUS, NAME, QUEUE, WORKER, ERROR_TYPE, got METADATA"),
        ({"filter": {"names": ["a" * 5000]}}, "filter.names: at most 4096 characters allowed, got 5000"),
    ],
    ids=lambda each: str(each)[:40],
)
async def test_a_question_that_cannot_be_is_a_clear_error(front: Front, given: dict[str, Any], message: str) -> None:
    """The error names the argument, and has the figures."""
    since = datetime.now(UTC).isoformat()
    result = await front.ask(_STATS, **{"from": since, "to": "2100-01-01T00:00:00Z", "seconds": 60 * 10**7, **given})
    (error,) = result.errors or []
    assert message in error.message
    assert error.extensions == {"code": "BAD_USER_INPUT"}


async def _refusal(front: Front, **given: Any) -> tuple[str, dict[str, Any] | None]:
    since = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
    result = await front.ask(_STATS, **{"from": since, "seconds": 60, **given})
    (error,) = result.errors or []
    return error.message, error.extensions


async def test_too_much_is_refused_with_a_code(front: Front, worker: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More records than a question may read, and more rows than an answer may have, are errors with their numbers."""
    _create(worker, "a", "b", "c")
    by_metadata = {"NOT": {"metadata": [{"path": "a", "eq": 1}]}}
    assert _sums(await _stats(front, filter=by_metadata)) == (3, 0, 0, 0)
    monkeypatch.setattr(reading, "MAX_RECORDS", 2)
    message, extensions = await _refusal(front, filter=by_metadata)
    assert message == "records of statistics 3, at most 2"
    assert extensions == {"code": "LIMIT_EXCEEDED", "limit": "records of statistics", "value": 3, "max": 2}
    # The same holds for minutes that nobody has counted for long.
    message, extensions = await _refusal(front)
    assert message.endswith("are not counted yet, try again in 10 s")
    assert extensions == {"code": "OVERLOADED", "limit": "statistics", "retryAfter": 10}
    await Counting(front.services.store, 0.0).count(datetime.now(UTC) + timedelta(minutes=2))
    assert _sums(await _stats(front)) == (3, 0, 0, 0)
    monkeypatch.setattr(reading, "MAX_ROWS", 0)
    _, extensions = await _refusal(front, by="NAME")
    assert extensions == {"code": "LIMIT_EXCEEDED", "limit": "rows of statistics", "value": 1, "max": 0}
