"""Changes of metadata by a task function, which begin with what its attempt has last seen."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context
from celery.exceptions import Ignore

from gql_api.record import claims, control, writes
from gql_api.record.model import Claim, NewTask
from gql_api.settings import Settings
from gql_api.values.operations import MetadataError, MetadataOp, Operation
from gql_api.worker.backend.backend import Backend
from gql_api.worker.state.attempt import attempt_of

Change = Callable[..., dict[str, Any]]


@pytest.fixture
def backend(settings: Settings) -> Iterator[Backend]:
    """A worker's backend."""
    app = Celery("metadata-tests", set_as_current=False, broker=settings.celery_broker_url)
    backend = Backend(app, settings)
    app._backend_cache = backend  # noqa: SLF001 - the backend would read the environment
    yield backend
    backend.connections.close()
    app.close()


@pytest.fixture
def request_(backend: Backend) -> Context:
    """The request of a running task with metadata."""
    id_ = str(uuid.uuid4())
    backend.store.change(writes.create(NewTask(id=id_, name="add", metadata={"mine": 1})), upsert=True)
    claim = Claim(uuid.uuid4().hex, worker="w", run="r", pid=1, lease_seconds=60)
    record = backend.store.change(claims.claim(id_, claim))
    assert record is not None
    request = Context(id=id_, task="add")
    attempt_of(request).begin_claim()
    attempt_of(request).take_claim(claim.token, record)
    return request


@pytest.fixture
def change(backend: Backend, request_: Context) -> Change:
    """The change of a value as ``update_metadata`` makes it."""

    def change(path: str, value: Any, op: MetadataOp = MetadataOp.SET) -> dict[str, Any]:
        record = backend.change_metadata(request_, [Operation(op, path, value)])
        attempt_of(request_).update_record(record)
        return record.metadata

    return change


def _change_elsewhere(backend: Backend, task_id: str, metadata: dict[str, Any]) -> None:
    record = backend.store.find(task_id)
    assert record is not None
    assert backend.store.change(control.replace_metadata(task_id, metadata, record.metadata_revision))


def test_a_change_is_one_write(backend: Backend, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt knows the metadata that nobody else has changed."""
    monkeypatch.setattr(backend.store, "find", lambda _: pytest.fail("the record was read"))
    assert change("a", 1) == {"mine": 1, "a": 1}
    assert change("a", 1, MetadataOp.INCREMENT) == {"mine": 1, "a": 2}


def test_changes_of_others_are_kept(backend: Backend, request_: Context, change: Change) -> None:
    """A change that somebody has made meanwhile is neither lost nor undone."""
    change("a", 1)
    _change_elsewhere(backend, request_.id, {"mine": 1, "a": 5, "theirs": True})
    assert change("a", 1, MetadataOp.INCREMENT) == {"mine": 1, "a": 6, "theirs": True}


def test_the_metadata_of_now_decide_what_fits(backend: Backend, request_: Context, change: Change) -> None:
    """An operation that does not fit what the attempt has seen may fit what there is, and the other way round."""
    with pytest.raises(MetadataError):
        change("mine", "x", MetadataOp.APPEND)
    _change_elsewhere(backend, request_.id, {"mine": []})
    assert change("mine", "x", MetadataOp.APPEND) == {"mine": ["x"]}
    _change_elsewhere(backend, request_.id, {"mine": 1})
    with pytest.raises(MetadataError):
        change("mine", "y", MetadataOp.APPEND)
    assert change("mine", 1, MetadataOp.INCREMENT) == {"mine": 2}


def test_a_lost_attempt_changes_nothing(backend: Backend, request_: Context, change: Change) -> None:
    """The function ends, and its outcome is refused too."""
    assert backend.store.change(claims.requeue(request_.id, claims.held_by(1), "lost"))
    with pytest.raises(Ignore, match="taken away"):
        change("a", 1)
    assert attempt_of(request_).refused
    record = backend.store.find(request_.id)
    assert record is not None
    assert record.metadata == {"mine": 1}
