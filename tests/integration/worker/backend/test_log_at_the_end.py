"""The log lines of an attempt and the write that ends it, through the result backend."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from celery.app.task import Context
from kombu.exceptions import EncodeError
from log_lines import log_of

from gql_api.record import claims, writes
from gql_api.record.fields import Status
from gql_api.record.logs import Entry
from gql_api.record.model import Claim, NewTask
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend
from gql_api.worker.state.attempt import attempt_of
from gql_api.worker.store.logs import LogStore


@pytest.fixture
def backend(settings: Settings) -> Iterator[Backend]:
    """A worker's backend."""
    app = Celery("log-tests", set_as_current=False, broker=settings.celery_broker_url)
    backend = Backend(app, settings)
    app._backend_cache = backend  # noqa: SLF001 - the backend would read the environment
    yield backend
    backend.connections.close()
    app.close()


@pytest.fixture
def request_(backend: Backend) -> Context:
    """The request of a running task that has logged a line."""
    id_ = str(uuid.uuid4())
    backend.store.change(writes.create(NewTask(id=id_, name="add")), upsert=True)
    claim = Claim(uuid.uuid4().hex, worker="w", run="r", pid=1, lease_seconds=60)
    record = backend.store.change(claims.claim(id_, claim))
    assert record is not None
    request = Context(id=id_, task="add")
    attempt_of(request).begin_claim()
    attempt_of(request).take_claim(claim.token, record)
    backend.logs.add(request, 20, lambda: "a line")
    return request


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that are stored by themselves."""
    written: list[str] = []
    write = LogStore._write  # noqa: SLF001 - each try of a write

    def note(self: LogStore, task_id: str, attempt: int, entries: list[Entry], *rest: object, **more: bool) -> object:
        written.extend(entry.message for entry in entries)
        return write(self, task_id, attempt, entries, *rest, **more)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(LogStore, "_write", note)
    return written


_ENDS: dict[str, Callable[[Backend, Context], object]] = {
    "success": lambda backend, request: backend.mark_as_done(request.id, 1, request=request),
    "failure": lambda backend, request: backend.mark_as_failure(request.id, ValueError(), request=request),
    "cancel": lambda backend, request: backend.mark_as_revoked(request.id, "enough", request=request),
}


@pytest.mark.parametrize("end", _ENDS.values(), ids=_ENDS)
def test_the_end_has_the_last_lines(
    backend: Backend, request_: Context, written: list[str], end: Callable[[Backend, Context], object]
) -> None:
    """Whatever the end is, the line needs no write of its own."""
    end(backend, request_)
    assert [line.message for line in log_of(backend.database, request_.id)] == ["a line"]
    assert written == []


def test_a_retry_stores_the_lines_before_itself(backend: Backend, request_: Context, written: list[str]) -> None:
    """The next attempt adds others behind them."""
    backend.mark_as_retry(request_.id, ValueError(), request=request_)
    assert written == ["a line"]
    assert [line.message for line in log_of(backend.database, request_.id)] == ["a line"]


def test_a_result_that_cannot_be_stored_loses_no_line(backend: Backend, request_: Context, written: list[str]) -> None:
    """The lines are stored by themselves, once, and Celery stores the failure."""
    with pytest.raises(EncodeError):
        backend.mark_as_done(request_.id, "x" * 17_000_000, request=request_)
    assert written == ["a line"]
    backend.mark_as_failure(request_.id, EncodeError("too large"), request=request_)
    assert [line.message for line in log_of(backend.database, request_.id)] == ["a line"]
    record = backend.store.find(request_.id)
    assert record is not None
    assert record.status is Status.FAILURE


def test_the_last_lines_come_behind_earlier_ones(backend: Backend, request_: Context) -> None:
    """The last lines have the positions after all others."""
    backend.logs.store(request_)
    backend.logs.add(request_, 20, lambda: "another")
    backend.mark_as_done(request_.id, 1, request=request_)
    log = log_of(backend.database, request_.id)
    assert [(line.position, line.message) for line in log] == [(1, "a line"), (2, "another")]
