"""The owners of tasks that adopted programs, running tasks and plain Celery programs send, with two pools."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from databases import Databases
from owner_tasks import OF_OTHER, TREE_SIZE
from pymongo import MongoClient
from redis import Redis
from support import HELPERS, ROOT, process, wait_until

from gql_api.access.owner_signature import HEADER, Owner, owner_headers
from gql_api.adopt import adopt, owned_by
from gql_api.record import control, fields
from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend

_DOCS = (ROOT / "docs" / "adopt.md").read_text().partition("\n## Owners\n")[2].partition("\n## ")[0]
_BLOCK, _MIDDLEWARE, _PLAIN = re.findall(r"^```python\n(.*?)^```$", _DOCS, re.DOTALL | re.MULTILINE)
_POOLS = ["prefork", "threads"]
_SECRET, _OLD = "s" * 32, "o" * 32
_OTHER = "x" * 32
_ALICE, _NOBODY = Owner("alice", "acme"), Owner()
_APP = """
from celery import Celery
from gql_api.adopt import adopt
app = adopt(Celery("site", broker={broker!r}, include=["owner_tasks"]))
app.conf.task_default_queue = {name!r}
"""


@dataclass
class Site:
    """An adopted application, a plain one, and a worker of one pool that serves their queue."""

    app: Celery
    plain: Celery
    backend: Backend
    queue: str
    redis: Redis
    log: Path
    worker: subprocess.Popen[bytes]

    def owner(self, task_id: str) -> Owner:
        """Return the owner of a task once it has ended."""
        record = self.finished(task_id)
        return Owner(record.owner, record.tenant)

    def record(self, task_id: str) -> TaskRecord:
        """Read a task."""
        record = self.backend.store.find(task_id)
        assert record is not None
        return record

    def finished(self, task_id: str) -> TaskRecord:
        """Wait until a task is final."""

        def is_final() -> bool:
            found = self.backend.store.find(task_id)
            return found is not None and found.is_final

        wait_until(is_final, 20, f"the end of {task_id}:\n{self.log.read_text()[-3000:]}")
        return self.record(task_id)

    def ids(self) -> list[str]:
        """Return the ids of all tasks."""
        found: list[str] = self.backend.collection.distinct("_id")
        return found

    def new_owners(self, known: list[str], size: int) -> list[Owner]:
        """Return the owners of all tasks but some, once so many have ended."""
        tasks, new = self.backend.collection, {"_id": {"$nin": known}}
        ended = {**new, fields.STATUS: {"$in": fields.FINAL_NAMES}}
        wait_until(lambda: tasks.count_documents(ended) >= size, 20, f"the tasks:\n{self.log.read_text()[-3000:]}")
        return [Owner(each.get(fields.OWNER), each.get(fields.TENANT)) for each in tasks.find(new)]

    def send_plainly(self, name: str, owner: str | None = None, tenant: str | None = None, **options: Any) -> str:
        """Send a task by the plain program, with a signed owner."""
        task_id, name = str(uuid.uuid4()), f"owner_tasks.{name}"
        headers = {} if owner is None else owner_headers(task_id, name, owner, tenant, secret=_SECRET)
        self.plain.send_task(name, task_id=task_id, queue=self.queue, headers=headers, **options)
        return task_id

    def push_forged(self, value: Any, task_id: str, **options: Any) -> None:
        """Send a task by the plain program with anything in the header, and wait until the message is set aside."""
        rejected = f"gql-api:rejected:{self.queue}"
        before = self.redis.llen(rejected)
        self.plain.send_task("owner_tasks.leaf", task_id=task_id, queue=self.queue, headers={HEADER: value}, **options)
        wait_until(lambda: self.redis.llen(rejected) == before + 1, 20, "the message to be set aside")
        kept: Any = self.redis.lindex(rejected, 0)
        assert json.loads(kept)["headers"]["id"] == task_id


@contextlib.contextmanager
def _started(pool: str, databases: Databases, folder: Path) -> Iterator[Site]:
    name, log = f"owners_{uuid.uuid4().hex}", folder / "worker.log"
    environment = {
        "MONGODB_URL": databases.mongodb.url,
        "MONGODB_DATABASE": name,
        "CELERY_BROKER_URL": databases.redis.url,
        "ACCESS_SECRET": f"{_SECRET},{_OLD}",
        "RECOVERY_INTERVAL_SECONDS": "0.5",
        "PYTHONPATH": f"{folder}:{HELPERS}:{ROOT}",
    }
    (folder / "site_app.py").write_text(_APP.format(name=name, broker=databases.redis.url))
    settings = Settings(mongodb_url=databases.mongodb.url, mongodb_database=name, celery_broker_url=databases.redis.url)
    app = adopt(Celery(name, broker=settings.celery_broker_url, set_as_current=False))
    app.conf.task_default_queue = name
    backend = app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    plain = Celery("plain", broker=settings.celery_broker_url, set_as_current=False)
    plain.conf.broker_transport_options = {"priority_steps": list(range(10))}
    command = [sys.executable, "-m", "celery", "-A", "site_app", "worker", "-P", pool, "-c", "2"]
    command += ["-n", f"{name}@%h", "-l", "INFO", "--without-mingle", "--without-gossip"]
    with process(command, log, environment) as worker, Redis.from_url(databases.redis.url) as redis:
        yield Site(app, plain, backend, name, redis, log, worker)
    backend.connections.close()
    app.close()
    plain.close()
    with MongoClient[dict[str, Any]](databases.mongodb.url) as client:
        client.drop_database(name)


@pytest.fixture(scope="module")
def sites(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """A site for each pool. Both of them start, and stop, at the same time."""
    with contextlib.ExitStack() as stack:
        folders = {pool: tmp_path_factory.mktemp("owners") for pool in _POOLS}
        sites = {pool: stack.enter_context(_started(pool, databases, folder)) for pool, folder in folders.items()}
        for site in sites.values():
            stack.callback(site.worker.terminate)
        wait_until(lambda: all(b" ready." in site.log.read_bytes() for site in sites.values()), 60, "the workers")
        yield sites


@pytest.fixture(params=_POOLS)
def site(request: pytest.FixtureRequest, sites: dict[str, Site]) -> Site:
    """The site of a pool."""
    return sites[request.param]


def test_whatever_a_task_sends_belongs_to_its_owner(site: Site) -> None:
    """Children, callbacks, steps, bodies, members and replaced tasks do, unless the function says otherwise."""
    known = site.ids()
    with owned_by("alice", tenant="acme"):
        site.app.send_task("owner_tasks.fan")
    owners = site.new_owners(known, TREE_SIZE)
    other = [owner for owner in owners if owner == Owner("other", "others")]
    assert (len(owners), len(other)) == (TREE_SIZE, OF_OTHER)
    assert {owner for owner in owners if owner not in other} == {_ALICE}


def test_a_tree_without_an_owner_has_none(site: Site) -> None:
    """What a task of nobody sends is for administrators, as before."""
    known = site.ids()
    site.app.send_task("owner_tasks.parent")
    assert site.new_owners(known, 2) == [_NOBODY, _NOBODY]


def test_a_plain_program_names_an_owner(site: Site) -> None:
    """It signs the header with either secret; what its task sends has the owner too, and its metadata none of that."""
    known = site.ids()
    site.send_plainly("fan", *_ALICE)
    owners = site.new_owners(known, TREE_SIZE)
    assert (len(owners), set(owners)) == (TREE_SIZE, {_ALICE, Owner("other", "others")})
    known = site.ids()
    task_id = str(uuid.uuid4())
    headers = owner_headers(task_id, "owner_tasks.once_more", "bob", secret=_OLD)
    site.plain.send_task("owner_tasks.once_more", task_id=task_id, queue=site.queue, headers=headers)
    assert site.new_owners(known, 2) == [Owner("bob"), Owner("bob")]
    found = site.backend.collection.find_one({"_id": task_id, fields.STATUS: Status.SUCCESS})
    assert found is not None
    assert HEADER not in str(found)


def test_a_plain_program_continues_a_task(site: Site) -> None:
    """Without a header, its task belongs to the owner of its parent; without a parent, to nobody."""
    with owned_by("alice", tenant="acme"):
        parent = site.app.send_task("owner_tasks.leaf").id
    assert site.owner(parent) == _ALICE
    assert site.owner(site.send_plainly("leaf", parent_id=parent, root_id=parent)) == _ALICE
    assert site.owner(site.send_plainly("leaf")) == _NOBODY
    assert site.owner(site.send_plainly("leaf", parent_id="gone")) == _NOBODY
    # The header goes before the parent.
    assert site.owner(site.send_plainly("leaf", "bob", parent_id=parent)) == Owner("bob")


def test_a_function_without_a_record_passes_an_owner_on(site: Site) -> None:
    """A plain program names it, and the task that the function sends has it."""
    task_id = site.send_plainly("unseen", *_ALICE, root_id="unseen")
    child = {fields.NAME: "owner_tasks.leaf", fields.ROOT_ID: "unseen"}
    wait_until(lambda: site.backend.collection.count_documents(child) == 1, 20, site.log.read_text()[-3000:])
    found = site.backend.collection.find_one(child)
    assert found is not None
    assert (found.get(fields.OWNER), found.get(fields.TENANT)) == _ALICE
    assert site.backend.store.find(task_id) is None


def test_a_forged_owner_is_refused(site: Site) -> None:
    """Its message is set aside, logged without the header and not run; the worker takes the next one."""
    length, name = site.log.stat().st_size, "owner_tasks.leaf"
    task_id, signed_for = str(uuid.uuid4()), str(uuid.uuid4())
    forged = [
        owner_headers(task_id, name, "victim", secret=_OTHER)[HEADER],
        owner_headers(signed_for, name, "victim", secret=_SECRET)[HEADER],
        owner_headers(task_id, "owner_tasks.broken", "victim", secret=_SECRET)[HEADER],
        "victim",
        ["victim"],
    ]
    for value in forged:
        site.push_forged(value, task_id)
    assert site.owner(site.send_plainly("leaf", *_ALICE)) == _ALICE
    assert site.backend.store.find(task_id) is None
    log = site.log.read_bytes()[length:].decode()
    assert log.count(f"{HEADER}: the owner") == log.count("cannot be handled and is kept") == len(forged)
    assert "victim" not in log
    assert not any(value[10:30] in log for value in forged[:3] if isinstance(value, str))
    assert "Traceback" not in log


def test_a_forged_message_changes_no_other_task(site: Site) -> None:
    """A task with its id keeps its owner and its state, and runs when its own message comes."""
    with owned_by("alice", tenant="acme"):
        waiting = site.app.send_task("owner_tasks.leaf", countdown=3600).id
    site.push_forged("victim", waiting)
    record = site.record(waiting)
    assert (record.status, record.owner, record.revision) == (Status.SCHEDULED, "alice", 1)
    # Due now: however long the forged message has taken, the task was still waiting.
    site.backend.collection.update_one({"_id": waiting}, {"$set": {fields.DUE_AT: datetime.now(UTC)}})
    assert site.owner(waiting) == _ALICE


@pytest.mark.parametrize(("pool", "way"), [("prefork", "heeds"), ("threads", "heeds"), ("prefork", "by force")])
def test_a_cancelled_task_shows_who_cancelled_it(sites: dict[str, Site], pool: str, way: str) -> None:
    """So do the later steps of its chain, which end with it."""
    site = sites[pool]
    patient = site.app.signature("owner_tasks.patient", kwargs={"heeds": way == "heeds"}, immutable=True)
    later = site.app.signature("owner_tasks.leaf", immutable=True)
    last = (patient | later | later).apply_async()
    step, first = last.parent.id, last.parent.parent.id
    wait_until(lambda: site.record(first).status is Status.STARTED, 20, "the start")
    write = control.request_cancel(first, "enough", force=way != "heeds", actor="bob")
    assert site.backend.store.change(write) is not None
    for task_id in (first, step, last.id):
        record = site.finished(task_id)
        assert (record.status, record.revoked_by) == (Status.REVOKED, "bob")
    assert [entry.actor for entry in site.record(first).history[:-1]] == [None, None]


def test_the_adopted_program_of_the_docs(sites: dict[str, Site], monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of docs/adopt.md names the owner of the task that it sends."""
    site = sites["threads"]
    monkeypatch.setitem(sys.modules, "shop", SimpleNamespace(price=site.app.signature("owner_tasks.leaf")))
    names: dict[str, Any] = {}
    exec(_BLOCK, names)  # noqa: S102 - the code of the documentation
    assert site.owner(names["result"].id) == _ALICE


@pytest.mark.parametrize(("is_known", "owner"), [(True, Owner("7")), (False, _NOBODY)])
def test_the_middleware_of_the_docs(sites: dict[str, Site], *, is_known: bool, owner: Owner) -> None:
    """What a view sends belongs to the user who is logged in, or to nobody."""
    site, names = sites["threads"], dict[str, Any]()
    exec(_MIDDLEWARE, names)  # noqa: S102 - as above
    middleware = names["OwnerMiddleware"](lambda _: site.app.send_task("owner_tasks.leaf").id)
    request = SimpleNamespace(user=SimpleNamespace(pk=7, is_authenticated=is_known))
    assert site.owner(middleware(request)) == owner


def test_the_plain_program_of_the_docs(sites: dict[str, Site]) -> None:
    """It runs as printed, with the broker, the function and the queue of the test; its header names the owner."""
    site, known = sites["threads"], sites["threads"].ids()
    program = _PLAIN.replace("redis://localhost:6379/0", site.app.conf.broker_url)
    program = program.replace('("shop.price", ("tea",))', f'("owner_tasks.leaf", ("tea",), queue={site.queue!r})')
    command = [sys.executable, "-c", program]
    env = {**os.environ, "ACCESS_SECRET": f"{_OLD},{_SECRET}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert site.new_owners(known, 1) == [_ALICE]


def test_another_language_signs_a_header(sites: dict[str, Site]) -> None:
    """The format of docs/adopt.md is that of ``owner_headers``."""
    site, task_id, name = sites["threads"], str(uuid.uuid4()), "owner_tasks.leaf"
    text = re.search(r"`(gql-api: [^`]*)`", _DOCS)
    assert text is not None
    payload = base64.urlsafe_b64encode(json.dumps([task_id, name, "alice", "acme"], indent=1).encode()).decode()
    key = hmac.digest(_SECRET.encode(), text[1].encode(), "sha256")
    signature = hmac.digest(key, f"v1.{payload}".encode(), "sha256").hex()
    site.plain.send_task(name, task_id=task_id, queue=site.queue, headers={HEADER: f"v1.{payload}.{signature}"})
    assert site.owner(task_id) == _ALICE
