"""The actor of the transitions by which workers end a cancelled task and what follows it."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chain
from celery.result import AsyncResult
from recovery_bench import HOUR_MS, Bench

from gql_api.record import claims, control, fields, writes
from gql_api.record.fields import Status
from gql_api.record.model import Claim
from gql_api.record.writes import Write
from gql_api.worker.attempts.lost import revoke_cancelled
from gql_api.worker.sending.republish import request_of

_TAKING = Claim("m" * 32, "w", "run", 1, 60.0)


def _send(bench: Bench) -> list[str]:
    """Send a chain of three tasks and return the ids, the first one first."""
    steps = [bench.app.signature("job", queue=bench.queue, immutable=True) for _ in range(3)]
    result: AsyncResult | None = chain(*steps, app=bench.app).apply_async()
    ids: list[str] = []
    while result is not None:
        ids.insert(0, result.id)
        result = result.parent
    return ids


def _change(bench: Bench, *writes_: Write) -> None:
    for write in writes_:
        assert bench.backend.store.change(write) is not None


def _set_back(bench: Bench, *times: str) -> None:
    for time in times:
        earlier: list[dict[str, Any]] = [{"$set": {time: {"$subtract": [f"${time}", HOUR_MS]}}}]
        bench.backend.collection.update_many({time: {"$exists": True}}, earlier)


def _actors(bench: Bench, ids: list[str]) -> list[tuple[Status, str | None]]:
    return [(record.status, record.revoked_by) for record in bench.find(*ids)]


def _expected(actor: str | None) -> list[tuple[Status, str | None]]:
    return [(Status.REVOKED, actor)] * 3


def _request(ids: list[str], *, force: bool = False, actor: str | None = "bob") -> Write:
    return control.request_cancel(ids[0], "enough", force=force, actor=actor)


def test_a_cancelled_task_whose_worker_was_lost(bench: Bench) -> None:
    """Recovery revokes it in the name of the caller who cancelled it, and what follows it too."""
    ids = _send(bench)
    _change(bench, claims.claim(ids[0], _TAKING), _request(ids))
    _set_back(bench, fields.DUE_AT)
    bench.scan(bench.recovery())
    assert _actors(bench, ids) == _expected("bob")


def test_a_cancelled_task_that_asked_for_a_retry(bench: Bench) -> None:
    """The worker that would claim it next revokes it in that name."""
    ids = _send(bench)
    _change(bench, claims.claim(ids[0], _TAKING), _request(ids), writes.retry(ids[0], None))
    record = bench.find(ids[0])[0]
    revoke_cancelled(bench.backend, record, request_of(bench.app, record), claims.waiting())
    assert _actors(bench, ids) == _expected("bob")


@pytest.mark.parametrize("position", [0, 1])
def test_the_steps_behind_a_task_that_was_cancelled_while_it_waited(bench: Bench, position: int) -> None:
    """Recovery ends them in the name of the caller, whether the task was sent already or not."""
    ids = _send(bench)
    _change(bench, control.cancel_waiting(ids[position], "enough", actor="bob"))
    bench.scan(bench.recovery())
    assert _actors(bench, ids[position:]) == _expected("bob")[position:]


def test_steps_that_a_worker_left_waiting(bench: Bench) -> None:
    """Recovery finds the task that they wait for, and its actor in the history."""
    ids = _send(bench)
    error = control.revoked_error("enough")
    _change(bench, writes.fail(ids[0], error, status=Status.REVOKED, actor="$bob"))
    _set_back(bench, fields.UPDATED_AT, fields.FINISHED_AT)
    bench.scan(bench.recovery())
    assert _actors(bench, ids) == _expected("$bob")


def test_a_request_without_a_subject_takes_the_place_of_an_earlier_one(bench: Bench) -> None:
    """The application's own ``revoke`` has none, so nobody is the actor of the end that it forces."""
    ids = _send(bench)
    _change(bench, claims.claim(ids[0], _TAKING), _request(ids))
    assert bench.backend.store.change(_request(ids, actor="carol")) is None
    assert bench.find(ids[0])[0].cancel_actor == "bob"
    _change(bench, _request(ids, force=True, actor=None))
    _set_back(bench, fields.DUE_AT)
    bench.scan(bench.recovery())
    assert _actors(bench, ids) == _expected(None)


def test_what_no_caller_ends_has_no_actor(bench: Bench) -> None:
    """A task that expires, or that the application revokes, shows nobody."""
    first, second = _send(bench), _send(bench)
    bench.app.control.revoke(first[0])
    bench.backend.collection.update_one({"_id": second[0]}, [{"$set": {fields.EXPIRES_AT: "$$NOW"}}])
    bench.scan(bench.recovery())
    bench.scan(bench.recovery())
    assert _actors(bench, first) == _actors(bench, second) == _expected(None)
