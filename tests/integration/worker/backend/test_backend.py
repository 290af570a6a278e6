from __future__ import annotations

import contextlib
import multiprocessing
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context
from celery.exceptions import SecurityError, TaskRevokedError
from kombu.exceptions import EncodeError
from pymongo.errors import AutoReconnect, NetworkTimeout, OperationFailure, ServerSelectionTimeoutError
from support import wait_until

from gql_api.record import fields, writes
from gql_api.record.fields import Status
from gql_api.record.model import NewTask, Progress
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.values.operations import MetadataOp, Operation
from gql_api.worker.backend.backend import Backend
from gql_api.worker.store.tasks import Store

TaskId = str


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    """A Celery app whose results go through our backend."""
    app = Celery("backend-tests", set_as_current=False, broker=settings.celery_broker_url)
    app.conf.update(accept_content=["json"], result_backend_thread_safe=True)
    app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    yield app
    app.backend.connections.close()
    app.close()


@pytest.fixture
def backend(app: Celery) -> Backend:
    """Our backend."""
    assert isinstance(app.backend, Backend)
    return app.backend


@pytest.fixture
def task_id(backend: Backend) -> TaskId:
    """A task that was created with metadata."""
    id_ = str(uuid.uuid4())
    new = NewTask(id=id_, name="add", args=[1], metadata={"mine": True})
    Store(backend.connections).change(writes.create(new), upsert=True)
    return id_


def _record(backend: Backend, id_: TaskId) -> TaskRecord:
    record = Store(backend.connections).find(id_)
    assert record is not None
    assert record.metadata == ({"mine": True} if record.name == "add" else {})
    return record


VALUES = [
    None, 0, "", "text", 1.5, [1, [2]], {"a.b": {"$c": None}}, 2**70, uuid.UUID(int=1), Decimal("1.10"), b"\x00\xff",
    datetime(2026, 1, 2, tzinfo=UTC), {"deep": [{"when": datetime(2026, 1, 2, tzinfo=UTC)}]},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_results_come_back_as_celerys_serializer_gives_them(
    app: Celery, backend: Backend, task_id: TaskId, value: Any
) -> None:
    """AsyncResult.get returns what was returned, for every type that Celery's JSON carries."""
    backend.mark_as_done(task_id, value, request=Context(id=task_id))
    result = app.AsyncResult(task_id)
    assert result.get(timeout=5) == value
    assert result.state == "SUCCESS"
    assert result.date_done == _record(backend, task_id).finished_at


def test_results_are_values_that_can_be_queried(backend: Backend, task_id: TaskId) -> None:
    """A result is stored as BSON, not as a text."""
    backend.mark_as_done(task_id, {"sum": {"total": 7}})
    assert backend.collection.find_one({"result.sum.total": {"$gt": 6}}) is not None


def test_states_before_the_start_read_as_pending(app: Celery, task_id: TaskId) -> None:
    """Celery has no QUEUED state, and an unknown id is PENDING to it."""
    assert app.AsyncResult(task_id).state == "PENDING"
    assert app.AsyncResult("unknown").state == "PENDING"


def test_an_exception_comes_back_as_itself(app: Celery, backend: Backend, task_id: TaskId) -> None:
    """The caller of get sees the exception that the task raised; the record describes it in words."""
    backend.mark_as_failure(task_id, KeyError("missing"), traceback="Traceback (most recent call last): ...")
    result = app.AsyncResult(task_id)
    with pytest.raises(KeyError, match="missing"):
        result.get(timeout=5)
    assert result.traceback.startswith("Traceback")
    error = _record(backend, task_id).error
    assert error is not None
    assert (error.type, error.message, error.module) == ("KeyError", "'missing'", "builtins")


@pytest.mark.parametrize(("module", "name"), [("os", "mkdir"), ("posix", "mkdir"), ("pathlib", "Path.mkdir")])
def test_a_crafted_error_runs_nothing(
    app: Celery, backend: Backend, task_id: TaskId, tmp_path: Path, module: str, name: str
) -> None:
    """What a record names as the class of its error is called only if it is an exception."""
    made = tmp_path / "made"
    error = {
        fields.TYPE: name,
        fields.MODULE: module,
        fields.ARGS: [str(made)],
        fields.MESSAGE: "",
        fields.TRACEBACK: None,
    }
    backend.collection.update_one({"_id": task_id}, {"$set": {fields.STATUS: "FAILURE", fields.ERROR: error}})
    with contextlib.suppress(SecurityError):
        assert isinstance(app.AsyncResult(task_id).result, Exception)
    assert not made.exists()


def test_a_revoked_task_is_final(app: Celery, backend: Backend, task_id: TaskId) -> None:
    """A revocation is reported as Celery's own exception, and nothing undoes it."""
    backend.mark_as_revoked(task_id, "terminated")
    backend.mark_as_started(task_id, hostname="w")
    backend.mark_as_done(task_id, 1)
    assert _record(backend, task_id).status is Status.REVOKED
    with pytest.raises(TaskRevokedError, match="terminated"):
        app.AsyncResult(task_id).get(timeout=5)


def test_a_final_state_outlives_late_writes(app: Celery, backend: Backend, task_id: TaskId) -> None:
    """A duplicate or late attempt changes nothing, neither the state nor the result nor the revision."""
    backend.mark_as_done(task_id, "first")
    revision = _record(backend, task_id).revision
    backend.mark_as_started(task_id, hostname="w")
    backend.mark_as_failure(task_id, ValueError("late"))
    backend.mark_as_done(task_id, "second")
    assert _record(backend, task_id).revision == revision
    assert app.AsyncResult(task_id).get(timeout=5) == "first"


def test_a_retry_tells_why(app: Celery, backend: Backend, task_id: TaskId) -> None:
    """While a task waits for its next attempt, its last error can be read."""
    backend.mark_as_started(task_id, hostname="w")
    backend.mark_as_retry(task_id, ValueError("again"), traceback="tb")
    result = app.AsyncResult(task_id)
    assert result.state == "RETRY"
    assert isinstance(result.result, ValueError)
    backend.mark_as_started(task_id, hostname="w")
    assert app.AsyncResult(task_id).result == {"hostname": "w"}
    assert _record(backend, task_id).attempts == 2


@pytest.mark.parametrize(("state", "final"), [("RETRY", False), ("FAILURE", True), ("REVOKED", True)])
def test_states_without_an_exception_can_be_read(
    app: Celery, backend: Backend, task_id: TaskId, state: str, final: bool
) -> None:
    """Neither self.retry() nor a FAILURE set by hand needs an exception; earlier progress does not hide the state."""
    backend.mark_as_started(task_id, hostname="w")
    backend.report_progress(task_id, Progress(1.0))
    backend.store_result(task_id, None, state)
    result = app.AsyncResult(task_id)
    assert (result.state, result.ready()) == (state, final)
    assert isinstance(result.result, Exception)


def test_a_replica_set_has_an_address_for_the_banner(settings: Settings, app: Celery) -> None:
    """The worker's banner shows where MongoDB is, with several hosts, and without the password."""
    several = settings.model_copy(update={"mongodb_url": "mongodb://u:secret@a:1,b:2/?replicaSet=x"})
    backend = Backend(app, several)
    assert backend.as_uri() == "mongodb://u:**@a:1,b:2/?replicaSet=x"
    assert backend.as_uri(include_password=True) == several.mongodb_url


def test_celerys_own_tasks_are_kept_apart(app: Celery, backend: Backend) -> None:
    """Celery's internal tasks, and results under ids that name no task, are Celery's to read and no client's task."""
    backend.mark_as_done("map", [1, 2], request=Context(id="map", task="celery.map"))
    backend.mark_as_failure("body", ValueError("a member failed"))
    assert app.AsyncResult("map").get(timeout=5) == [1, 2]
    assert isinstance(app.AsyncResult("body").result, ValueError)
    assert backend.collection.count_documents({}) == 0
    app.AsyncResult("map").forget()
    assert app.AsyncResult("map").state == "PENDING"


def test_celerys_progress_idiom_becomes_progress(app: Celery, backend: Backend, task_id: TaskId) -> None:
    """update_state(PROGRESS) is stored as progress, and reads back as it was written."""
    backend.mark_as_started(task_id, hostname="w")
    meta = {"current": 1, "total": 2, "step": {"$n": 3}}
    backend.store_result(task_id, meta, "PROGRESS")
    wait_until(lambda: _record(backend, task_id).progress)
    assert _record(backend, task_id).progress == Progress(1.0, 2.0, None, {"step": {"$n": 3}})
    assert _record(backend, task_id).status is Status.STARTED
    result = app.AsyncResult(task_id)
    assert (result.state, result.info) == ("PROGRESS", meta)
    assert list(range(result.info["total"])) == [0, 1]


def test_other_states_stay_started(app: Celery, backend: Backend, task_id: TaskId) -> None:
    """A state of the task's own is in the history and in AsyncResult; the record's status follows the lifecycle."""
    backend.mark_as_started(task_id, hostname="w")
    backend.store_result(task_id, {"to": uuid.UUID(int=2)}, "UPLOADING")
    record = _record(backend, task_id)
    assert record.status is Status.STARTED
    assert record.history[-1].message == "UPLOADING"
    result = app.AsyncResult(task_id)
    assert (result.state, result.info) == ("UPLOADING", {"to": uuid.UUID(int=2)})


@pytest.mark.parametrize(
    ("state", "seen"), [("STARTED", "STARTED"), ("PROGRESS", "PROGRESS"), ("UPLOADING", "UPLOADING")]
)
def test_a_state_told_by_hand_of_a_task_elsewhere_is_kept(
    app: Celery, backend: Backend, task_id: TaskId, state: str, seen: str
) -> None:
    """A state stored without a task at hand can be read at once, whether or not the id has a record."""
    for known in (task_id, "never-sent"):
        backend.mark_as_started(known, hostname="other@host")
        backend.store_result(known, {"current": 1}, state)
        assert app.AsyncResult(known).state == seen
    backend.store_result("unknown-id", {"current": 1}, state)
    assert app.AsyncResult("unknown-id").state == seen


def test_the_last_report_goes_with_the_end(backend: Backend, task_id: TaskId) -> None:
    """A report made just before the function returned is in the final record."""
    backend.mark_as_started(task_id, hostname="w")
    for current in range(50):
        backend.report_progress(task_id, Progress(float(current + 1), 50.0))
    backend.mark_as_done(task_id, None)
    record = _record(backend, task_id)
    assert record.is_final
    assert record.progress == Progress(50.0, 50.0)


_AFTER_A_REPORT: dict[str, Callable[[Backend, TaskId], object]] = {
    "another report": lambda backend, id_: backend.report_progress(id_, Progress(2.0)),
    "a custom state": lambda backend, id_: backend.store_result(id_, {}, "UPLOADING"),
    "metadata": lambda backend, id_: backend.change_metadata(
        Context(id=id_), [Operation(MetadataOp.SET, "mine", value=True)]
    ),
    "a retry": lambda backend, id_: backend.mark_as_retry(id_, ValueError()),
    "success": lambda backend, id_: backend.mark_as_done(id_, 1),
    "failure": lambda backend, id_: backend.mark_as_failure(id_, ValueError()),
}


@pytest.mark.parametrize("change", _AFTER_A_REPORT.values(), ids=_AFTER_A_REPORT)
def test_no_revision_is_announced_twice_though_mongodb_loses_a_report(
    backend: Backend, task_id: TaskId, change: Callable[[Backend, TaskId], object]
) -> None:
    """What the attempt stores next has a revision above the lost one, also in the history and of the metadata."""
    backend.mark_as_started(task_id, hostname="w")
    kept = backend.collection.find_one({"_id": task_id})
    assert kept is not None
    backend.report_progress(task_id, Progress(1.0))
    wait_until(lambda: backend._progress.announced(task_id))  # noqa: SLF001 - known once the report is written
    lost = _record(backend, task_id).revision
    backend.collection.replace_one({"_id": task_id}, kept)
    change(backend, task_id)
    wait_until(lambda: _record(backend, task_id).revision == lost + 1)
    record = _record(backend, task_id)
    assert (record.metadata_revision or record.revision) == record.revision
    assert record.history[-1].revision in {kept["revision"], record.revision}
    assert record.history[-1].revision == record.revision or record.status is Status.STARTED


def test_a_report_too_large_to_store_does_not_decide_the_outcome(backend: Backend, task_id: TaskId) -> None:
    """The result of a task is stored though its last report cannot be."""
    backend.mark_as_started(task_id, hostname="w")
    request = Context(id=task_id, task="shop.pay", hostname="w")
    backend.store_result(task_id, {"everything": "x" * 16_800_000}, "PROGRESS", request=request)
    backend.mark_as_done(task_id, "fine", request=request)
    assert _record(backend, task_id).result == "fine"


def test_forget_drops_the_result_and_not_the_task(app: Celery, backend: Backend, task_id: TaskId) -> None:
    """After forget Celery knows nothing of the task, and the record still shows how it ended."""
    backend.mark_as_done(task_id, "secret")
    app.AsyncResult(task_id).forget()
    assert app.AsyncResult(task_id).state == "PENDING"
    record = _record(backend, task_id)
    assert (record.status, record.result) == (Status.SUCCESS, None)


def test_a_task_that_nobody_created_is_recorded(app: Celery, backend: Backend) -> None:
    """A state of an unknown id creates its record from its message."""
    request = Context(
        id="new", task="shop.pay", args=(1, uuid.UUID(int=3)), kwargs={"a": 1}, hostname="w", parent_id="p"
    )
    backend.store_result("new", {"hostname": "w"}, "STARTED", request=request)
    backend.mark_as_done("new", 5, request=request)
    record = _record(backend, "new")
    assert (record.name, record.kwargs, record.parent_id) == ("shop.pay", {"a": 1}, "p")
    assert [entry.status for entry in record.history] == [Status.QUEUED, Status.STARTED, Status.SUCCESS]
    assert app.AsyncResult("new").args == [1, uuid.UUID(int=3)]


def test_a_result_that_cannot_be_stored_is_celerys_to_report(backend: Backend, task_id: TaskId) -> None:
    """An unserializable result and one that is too large raise EncodeError, which Celery stores as a FAILURE."""
    with pytest.raises(EncodeError):
        backend.mark_as_done(task_id, object())
    with pytest.raises(EncodeError, match="16 MiB"):
        backend.mark_as_done(task_id, "x" * 16_800_000)
    assert _record(backend, task_id).status is Status.QUEUED


def test_groups_are_saved_and_expire_without_tasks(app: Celery, backend: Backend, task_id: TaskId) -> None:
    """A group result can be restored, and the clean-up of expired groups never touches a task."""
    backend.mark_as_done(task_id, 1)
    result = app.GroupResult("g", [app.AsyncResult(task_id)])
    result.save()
    restored = app.GroupResult.restore("g")
    assert [child.id for child in restored.results] == [task_id]
    backend.expires = 1
    for collection in (backend.group_collection, backend.collection):
        collection.update_many({}, {"$set": {"updated_at": datetime(2020, 1, 1, tzinfo=UTC)}})
    backend.cleanup()
    assert app.GroupResult.restore("g") is None
    assert _record(backend, task_id).is_final


def test_forget_leaves_a_running_task_alone(app: Celery, backend: Backend, task_id: TaskId) -> None:
    """A running task has no result to forget, and its later result can be read."""
    app.AsyncResult(task_id).forget()
    backend.mark_as_done(task_id, 3)
    assert app.AsyncResult(task_id).get(timeout=5) == 3


def test_an_ignored_result_is_none_of_celerys_business(app: Celery, backend: Backend, task_id: TaskId) -> None:
    """With ignore_result AsyncResult shows nothing, as always, and the record shows that the task succeeded."""
    backend.mark_as_done(task_id, "unwanted", request=Context(id=task_id, ignore_result=True))
    assert app.AsyncResult(task_id).state == "PENDING"
    record = _record(backend, task_id)
    assert (record.status, record.result) == (Status.SUCCESS, None)


def test_children_are_known(app: Celery, backend: Backend, task_id: TaskId) -> None:
    """The tasks that a task sent can be reached from its result."""
    request = Context(id=task_id, children=[])
    request.children.append(app.AsyncResult("child"))
    backend.mark_as_done(task_id, 1, request=request)
    (child,) = app.AsyncResult(task_id).children
    assert child.id == "child"


def _failure(code: int, *labels: str) -> OperationFailure:
    return OperationFailure("x", code, {"errorLabels": list(labels)})


@pytest.mark.parametrize(
    ("error", "safe"),
    [
        (AutoReconnect("x"), True),
        (NetworkTimeout("x"), True),
        (ServerSelectionTimeoutError("x"), True),
        (_failure(91, "RetryableWriteError"), True),
        (_failure(2), False),
        (ValueError("x"), False),
        (EncodeError("x"), False),
    ],
    ids=repr,
)
def test_only_an_absent_store_is_tried_again(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, error: Exception, safe: bool
) -> None:
    """Celery's always_retry needs to know which errors are temporary; only workers wait for their end."""
    assert backend.exception_safe_to_retry(error) is False
    monkeypatch.setattr("gql_api.worker.backend.backend.is_worker", lambda: True)
    assert backend.exception_safe_to_retry(error) is safe


def _child(backend: Backend, id_: TaskId, pipe: Any) -> None:
    backend.mark_as_done(id_, "from the child")
    pipe.send(id(backend.connections.mongo()))


@pytest.mark.filterwarnings("default:.*multi-threaded.*fork:DeprecationWarning")
def test_connections_are_not_inherited_over_a_fork(backend: Backend, task_id: TaskId) -> None:
    """A forked child, as prefork makes them, opens its own client, and its parent's goes on working."""
    mine = backend.connections.mongo()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_child, args=(backend, task_id, sender))
    child.start()
    assert receiver.recv() != id(mine)
    child.join(timeout=10)
    assert child.exitcode == 0
    assert _record(backend, task_id).result == "from the child"
