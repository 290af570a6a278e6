"""How an attempt ends: by ``Ignore``, ``Reject``, states set by hand and errors of every kind, on each pool."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult
from databases import Databases
from pymongo import MongoClient
from support import HELPERS, process, wait_until

from gql_api.adopt import adopt
from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend

_POOLS = ["prefork", "threads", "solo", "gevent"]


@dataclass
class Site:
    """An adopted application, and a worker of one pool that serves its queue."""

    app: Celery
    pool: str
    log: Path
    worker: subprocess.Popen[bytes]

    def send(self, name: str, *args: Any, **kwargs: Any) -> AsyncResult:
        """Send a task."""
        return self.app.send_task(f"outcome_tasks.{name}", args, kwargs)

    def find(self, sent: AsyncResult) -> TaskRecord:
        """Read a task."""
        backend = self.app.backend
        assert isinstance(backend, Backend)
        record = backend.store.find(sent.id)
        assert record is not None
        return record

    def finished(self, sent: AsyncResult) -> TaskRecord:
        """Wait until a task is final."""
        wait_until(lambda: self.find(sent).is_final, 20, f"the end of {sent.id}:\n{self.log.read_text()[-3000:]}")
        return self.find(sent)

    def run(self, name: str, *args: Any, **kwargs: Any) -> TaskRecord:
        """Send a task and wait until it is final."""
        return self.finished(self.send(name, *args, **kwargs))


@contextlib.contextmanager
def _started(pool: str, databases: Databases, folder: Path) -> Iterator[Site]:
    """Start a site with a database of its own, whose worker may not be ready yet."""
    name, log = f"outcomes_{uuid.uuid4().hex}", folder / "worker.log"
    settings = Settings(mongodb_url=databases.mongodb.url, mongodb_database=name, celery_broker_url=databases.redis.url)
    environment = {
        "MONGODB_URL": settings.mongodb_url,
        "MONGODB_DATABASE": name,
        "CELERY_BROKER_URL": settings.celery_broker_url,
        "TASK_MODULES": "outcome_tasks",
        "MAX_REJECTIONS": "2",
        "RECOVERY_INTERVAL_SECONDS": "0.5",
        "PYTHONPATH": str(HELPERS),
    }
    app = adopt(Celery(name, broker=settings.celery_broker_url, set_as_current=False))
    app.conf.task_default_queue = name
    app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    command = [sys.executable, "-m", "celery", "-A", "jobs", "worker", "-P", pool, "-c", "1", "-Q", name]
    command += ["-n", f"{name}@%h", "-l", "INFO", "--without-mingle", "--without-gossip"]
    with process(command, log, environment) as worker:
        yield Site(app, pool, log, worker)
    app.backend.connections.close()
    app.close()
    with MongoClient[dict[str, Any]](databases.mongodb.url) as client:
        client.drop_database(name)


@pytest.fixture(scope="module")
def sites(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """A site for each pool. All of them start, and stop, at the same time."""
    with contextlib.ExitStack() as stack:
        folders = {pool: tmp_path_factory.mktemp("outcomes") for pool in _POOLS}
        sites = {pool: stack.enter_context(_started(pool, databases, folder)) for pool, folder in folders.items()}
        for site in sites.values():
            stack.callback(site.worker.terminate)
        wait_until(lambda: all(b" ready." in site.log.read_bytes() for site in sites.values()), 60, "the workers")
        yield sites


@pytest.fixture(params=_POOLS)
def site(request: pytest.FixtureRequest, sites: dict[str, Site]) -> Site:
    """The site of a pool."""
    return sites[request.param]


def test_a_task_that_raises_ignore_is_revoked(site: Site) -> None:
    """It ends with the reason, also for a caller that waits for its result, and the worker takes the next task."""
    reasons = {None: "the task raised Ignore", "tenant is closed": "the task raised Ignore: tenant is closed"}
    for reason, text in reasons.items():
        sent = site.send("ignore", reason)
        task = site.finished(sent)
        assert task.error is not None
        assert (task.status, task.attempts, task.error.type) == (Status.REVOKED, 1, "TaskRevokedError")
        assert (task.error.message, task.history[-1].message) == (text, text)
        with pytest.raises(TaskRevokedError, match=text):
            sent.get(timeout=10)


def test_ignore_leaves_a_final_state_that_the_function_has_set(site: Site) -> None:
    """Celery's idiom to end a task with a meta of one's own."""
    done, failed, revoked, other = (
        site.run("ignore", "set by hand", state, {"by": "hand"})
        for state in ("SUCCESS", "FAILURE", "REVOKED", "SKIPPED")
    )
    assert (done.status, done.result) == (Status.SUCCESS, {"by": "hand"})
    assert failed.error is not None
    assert (failed.status, failed.error.args) == (Status.FAILURE, [{"by": "hand"}])
    assert revoked.error is not None
    assert (revoked.status, revoked.error.message) == (Status.REVOKED, "{'by': 'hand'}")
    assert (other.status, [entry.message for entry in other.history[-2:]]) == (
        Status.REVOKED,
        ["SKIPPED", "the task raised Ignore: set by hand"],
    )


def test_the_chord_of_a_task_that_raises_ignore_ends(site: Site) -> None:
    """Its body fails, as it does when a member is cancelled."""
    members = [site.app.signature("outcome_tasks.pid"), site.app.signature("outcome_tasks.ignore")]
    body = chord(members, app=site.app)(site.app.signature("outcome_tasks.count"))
    wait_until(lambda: body.state == "FAILURE")
    with pytest.raises(TaskRevokedError, match="Ignore"):
        body.get(timeout=10)


def test_a_task_that_rejects_its_message_fails(site: Site) -> None:
    """``Reject`` without ``requeue`` is a failure, once, with the reason."""
    for reason, text in {None: "the task raised Reject", "unfit": "the task raised Reject: unfit"}.items():
        task = site.run("reject", reason)
        assert task.error is not None
        assert (task.status, task.attempts) == (Status.FAILURE, 1)
        assert (task.error.type, task.error.message) == ("Reject", text)


def test_a_task_that_requeues_itself_runs_again_after_a_pause(site: Site, tmp_path: Path) -> None:
    """Meanwhile it waits in the state RETRY, with the reason."""
    sent = site.send("reject_once", str(tmp_path / "rejected"), "not yet")
    task = site.finished(sent)
    # The history keeps what a test process that is held up would be too late to see.
    waiting = task.history[2]
    assert (waiting.status, waiting.message) == (Status.RETRY, "the task raised Reject: not yet")
    assert (task.result, task.attempts, task.rejections, task.error) == ("accepted", 2, 1, None)
    assert (task.history[-2].at - waiting.at).total_seconds() > 0.9
    # Its first message did not come back: no claim was refused.
    assert f"Task {sent.id} is run by another worker, or over".encode() not in site.log.read_bytes()


def test_a_task_that_requeues_itself_for_ever_fails(site: Site) -> None:
    """After MAX_REJECTIONS it fails, with the reason of the last one and the number."""
    task = site.run("reject_always", "never")
    assert task.error is not None
    assert (task.status, task.attempts, task.error.type) == (Status.FAILURE, 2, "Reject")
    assert task.error.message == "the task raised Reject: never; 2 attempts ended so"


@pytest.mark.parametrize(
    "state", ["PENDING", "RECEIVED", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED"]
)
def test_the_return_decides_over_a_state_set_by_hand(site: Site, state: str) -> None:
    """A state of Celery's own that the function sets is a note in the history; the function goes on once."""
    task = site.run("set_state", state)
    assert (task.status, task.result, task.attempts) == (Status.SUCCESS, "went on", 1)
    steps = [(entry.status, entry.message) for entry in task.history]
    assert steps == [("QUEUED", None), ("STARTED", None), ("STARTED", state), ("SUCCESS", None)]


def test_the_return_decides_over_the_backend_called_by_hand(site: Site) -> None:
    """The methods by which Celery stores an outcome only add a note while the function runs."""
    sent = [site.send("mark_as", outcome) for outcome in ("failure", "done", "revoked")]
    sent += [site.send("set_state", state, directly=True) for state in ("FAILURE", "RETRY")]
    for task in map(site.finished, sent):
        assert (task.status, task.result, task.attempts) == (Status.SUCCESS, "went on", 1)


def test_a_state_set_before_the_function_is_a_note_too(site: Site) -> None:
    """The function runs once, and its return decides, whatever state ``before_start`` of a task class has set."""
    sent = {
        (state, way): site.send("set_state_first", state, way, "return")
        for way in ("update_state", "backend")
        for state in ("RETRY", "SUCCESS", "FAILURE", "REVOKED")
    }
    for (state, way), task in ((key, site.finished(each)) for key, each in sent.items()):
        assert (task.status, task.result) == (Status.SUCCESS, f"went on after {state} by {way}: return")
        steps = [(entry.status, entry.message) for entry in task.history]
        assert steps == [("QUEUED", None), ("STARTED", None), ("STARTED", state), ("SUCCESS", None)]


def test_a_state_set_before_the_function_is_the_end_with_ignore(site: Site) -> None:
    """``Ignore`` in ``before_start`` ends the task in the state that was set; an exception is a failure."""
    ignored = site.run("set_state_first", "SUCCESS", "update_state", "ignore")
    assert (ignored.status, ignored.result, ignored.attempts) == (Status.SUCCESS, {"by": "hand"}, 1)
    failed = site.run("set_state_first", "SUCCESS", "update_state", "error")
    assert failed.error is not None
    assert (failed.status, failed.error.type, failed.attempts) == (Status.FAILURE, "NeedsTwo", 1)


_MODULE = "outcome_tasks"
_ERRORS = {
    "MemoryError": ("builtins", "no room"),
    "SystemExit": ("builtins", "3"),
    "KeyboardInterrupt": ("builtins", ""),
    "GeneratorExit": ("builtins", ""),
    "GreenletExit": ("greenlet", ""),
    "Timeout": ("gevent.timeout", "7 seconds"),
    "CancelledError": ("asyncio.exceptions", "by the loop"),
    "BaseExceptionGroup": ("builtins", "two (1 sub-exception)"),
    "Stop": (_MODULE, "enough"),
    "NeedsTwo": (_MODULE, "1 is not 2"),
    "Locked": (_MODULE, "it is locked"),
    "Bare": (_MODULE, "front door"),
    "Wordless": (_MODULE, "Wordless()"),
    "_local.<locals>.Hidden": (_MODULE, "out of sight"),
}


def test_every_exception_is_a_failure_of_its_type(site: Site) -> None:
    """It is stored at once with the type, text and traceback of the original, and the process goes on."""
    before = site.run("pid").result
    sent = {kind: site.send("fail", kind) for kind in _ERRORS}
    for kind, task in ((kind, site.finished(each)) for kind, each in sent.items()):
        assert task.error is not None
        assert (task.status, task.attempts, task.error.type) == (Status.FAILURE, 1, kind)
        assert (task.error.module, task.error.message) == _ERRORS[kind]
        assert "raise error" in str(task.error.traceback)
        assert "FunctionExitError" not in str(task.error.traceback)
    assert site.run("pid").result == before


def test_every_exception_is_an_exception_to_the_caller(site: Site) -> None:
    """``AsyncResult.get`` raises one of the type's name, also of a type that would end the caller's program."""
    for kind, (_, text) in _ERRORS.items():
        with pytest.raises(Exception, match=text if kind in {"NeedsTwo", "SystemExit"} else None) as raised:
            site.send("fail", kind).get(timeout=20, interval=0.05)
        assert type(raised.value).__name__.rpartition(".")[2] == kind.rpartition(".")[2]


def test_the_last_error_of_retries_keeps_its_type(site: Site) -> None:
    """Celery raises the error that a retry was asked with when the function gets no other."""
    for kind in ("NeedsTwo", "Locked", "SystemExit"):
        task = site.run("give_up", kind)
        assert task.error is not None
        assert (task.status, task.attempts, task.error.type) == (Status.FAILURE, 1, kind)


def test_an_exception_before_the_function_is_a_failure_too(site: Site) -> None:
    """``before_start`` of a task class is a part of the attempt."""
    for kind in ("SystemExit", "NeedsTwo"):
        task = site.run("guarded", kind)
        assert task.error is not None
        assert (task.status, task.attempts, task.error.type) == (Status.FAILURE, 1, kind)


def test_the_rest_of_a_chain_fails_with_the_original(site: Site) -> None:
    """A later step has the error of the step that failed."""
    steps = [
        site.app.signature(f"{_MODULE}.{name}", args, immutable=True)
        for name, args in (("fail", ("Stop",)), ("pid", ()))
    ]
    last = chain(*steps, app=site.app).apply_async()
    task = site.finished(last.parent)
    wait_until(lambda: last.state == "FAILURE")
    rest = site.find(last)
    assert task.error is not None
    assert rest.error is not None
    assert (task.error.type, rest.error.type) == ("Stop", "Stop")
