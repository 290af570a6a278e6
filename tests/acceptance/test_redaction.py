"""A canary: arguments that a function or a sender hides are nowhere but in messages, and in the record for these."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plain_http
import pytest
from pymongo import MongoClient
from redis import Redis
from support import ROOT, Api, process, wait_until

from gql_api.record import fields

_APP = """
import os
import time
from celery import Celery, chain, chord, signals
from celery.app import trace
from gql_api.adopt import adopt
from pydantic import BaseModel

app = adopt(Celery("vault", broker={broker!r}, set_as_current=True))
app.conf.task_default_queue = "vault"
app.conf.task_send_sent_event = True
trace.LOG_RECEIVED = "RECEIVED %(name)s %(args)s %(kwargs)s"
trace.LOG_SUCCESS = "DONE %(name)s %(args)s %(kwargs)s"


class Card(BaseModel):
    number: int


@app.task(bind=True, redact=["password", "card.number", "**more"])
def login(self, user, password: str, card: dict | None = None, *, retries: int = 0, **more):
    if self.request.retries < retries:
        raise self.retry(countdown=0.1)
    return [user, password.swapcase(), card and card["number"].swapcase(), sorted(more.values())[:0]]


@app.task(redact=["password"])
def after(result, password):
    return password.swapcase()


@app.task
def plain(*values, **named):
    return [str(value).swapcase() for value in [*values, *named.values()]]


@app.task(bind=True)
def plain_retried(self, value):
    if not self.request.retries:
        raise self.retry(countdown=0.1)
    return value.swapcase()


@app.task(bind=True, redact=["secret"])
def sending(self, secret):
    login.delay("child", secret)
    raise self.replace(login.s("replaced", password=secret))


@app.task(bind=True, redact=["secret"], max_retries=0)
def exhausted(self, secret):
    raise self.retry()


@app.task(pydantic=True, redact=["card"])
def charge(card: Card):
    return card.number


@app.task(pydantic=True, redact=["card"], autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0)
def charge_again(card: Card):
    return card.number


@app.task(redact=["secret"])
def held(path, secret):
    while not os.path.exists(path):
        time.sleep(0.02)
    return secret.swapcase()


@app.task
def fail():
    raise RuntimeError("no")
"""

_SENT = """
import json
from vault import *
S = "CANARY"
steps = chain(fail.si(), after.s(S), plain.s(S).set(argsrepr="(<it>, <hidden>)"))
body = chord([fail.si(), plain.s(1)], after.s(S))
sent = dict(
    positional=login.delay("anna", S),
    named=login.apply_async(("anna",), dict(password=S, card=dict(number=S, kind="visa"), extra=S), countdown=0.3),
    retried=login.delay("anna", S, retries=2),
    nested=login.delay("anna", S, card=dict(number=S)),
    texts=plain.apply_async((S,), dict(key=S), argsrepr="(<redacted>)", kwargsrepr=repr(dict(key="***"))),
    delayed=plain.apply_async((S,), argsrepr="('***',)", countdown=0.3),
    text_retried=plain_retried.apply_async((S,), argsrepr="(<redacted>)"),
    chained=chain(login.s("anna", S), after.s(S)).apply_async(),
    joined=chord([login.s("anna", S), plain.s(S).set(argsrepr="(<member>)")], after.s(S)).apply_async(),
    sending=sending.delay(S),
    shadow=login.apply_async(("anna", S), dict(retries=1), shadow="other name", countdown=0.1),
)
failed = dict(exhausted=exhausted.delay(S), charge=charge.delay(dict(number=S)),
              charge_again=charge_again.delay(dict(number=S)), steps=steps.apply_async(),
              body=body.apply_async())
results = {name: result.get(timeout=60) for name, result in sent.items()}
for result in failed.values():
    result.get(timeout=60, propagate=False)
print(json.dumps(dict(results=results, ids={name: r.id for name, r in {**sent, **failed}.items()})))
"""

_BY_NAME = """
import json
from celery import Celery
from gql_api.adopt import adopt
app = adopt(Celery("sender", broker={broker!r}, set_as_current=True))
sent = [
    app.send_task("vault.login", ("anna", "CANARY"), queue="vault"),
    app.send_task("vault.login", ("anna",), dict(password="CANARY"), queue="vault", countdown=0.2),
]
print(json.dumps([[result.id, result.get(timeout=60)] for result in sent]))
"""

_STOCK = """
import json, os
del os.environ["CELERY_RESULT_BACKEND"]
from celery import Celery
app = Celery("stock", broker={broker!r})
sent = [
    app.send_task("vault.login", ("anna", "CANARY"), dict(retries=1), queue="vault"),
    app.send_task("vault.plain", ("CANARY",), queue="vault", argsrepr="('***',)"),
    app.send_task("vault.login", ("anna", "CANARY"), queue="vault", argsrepr="(<none>)"),
    app.send_task("vault.plain", (1, (2, "two")), dict(three=[3.5, None]), queue="vault"),
]
print(json.dumps([result.id for result in sent]))
"""

_TASK = "id name args kwargs result metadata status error { message traceback } history { message }"
_ALL = f'{{ tasks(first: 100, filter: {{ queues: ["vault"] }}) {{ nodes {{ {_TASK} }} }} }}'
_CREATE = (
    "mutation($input: CreateTaskInput!) { createTask(input: $input) { task { TASK } userErrors { code message } } }"
)
_REPLAY = (
    "mutation($id: ID!, $kwargs: JSON) { replayTask(id: $id, kwargs: $kwargs) "
    "{ task { TASK } userErrors { message } } }"
)
_RESCHEDULE = (
    'mutation($id: ID!) { rescheduleTask(id: $id, scheduledFor: "2026-01-01T00:00:00Z") '
    "{ task { TASK } userErrors { message } } }"
)
_REPLAY_ALL = "mutation($ids: [ID!]) { replayTasks(filter: { ids: $ids }, dryRun: false) { userErrors { message } } }"
_REPLAYS = '{ tasks(first: 100, filter: { names: ["vault.login"] }) { nodes { TASK replayOf { id } } } }'
_HIDDEN = "[REDACTED]"


@dataclass
class Vault:
    """A running worker of the application, with all that it says."""

    api: Api
    folder: Path
    environment: dict[str, str]
    log: Path
    heard: list[bytes] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def run(self, program: str) -> Any:
        """Run a program of a sender, and return the JSON that it prints."""
        broker = self.environment["CELERY_BROKER_URL"]
        command = [sys.executable, "-c", program.replace("{broker!r}", repr(broker))]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=90, check=False, cwd=self.folder, env=self.environment
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def ask(self, query: str, **variables: Any) -> Any:
        """Send an operation, and keep the text of the answer."""
        answer = plain_http.post(self.api.graphql, json={"query": query.replace("TASK", _TASK), "variables": variables})
        self.answers.append(answer.text)
        found = answer.json()
        assert "errors" not in found, found
        return found["data"]

    def task(self, task_id: str) -> Any:
        """Return a task as the API shows it, once it is over."""

        def ended() -> Any:
            found = self.ask("query($id: ID!) { task(id: $id) { TASK } }", id=task_id)["task"]
            return found if found and found["status"] in {"SUCCESS", "FAILURE", "REVOKED"} else None

        return wait_until(ended, 40)

    def create(self, name: str, **options: Any) -> Any:
        """Create a task, and return the payload."""
        return self.ask(_CREATE, input={"name": name, **options})["createTask"]

    def records(self) -> list[dict[str, Any]]:
        """Return all records of the application."""
        with MongoClient[dict[str, Any]](self.environment["MONGODB_URL"]) as client:
            return list(client[self.environment["MONGODB_DATABASE"]][fields.TASKS].find({fields.QUEUE: "vault"}))


@pytest.fixture(scope="module")
def vault(api: Api, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """Run a worker that sends events, and record all that Redis publishes."""
    folder: Path = tmp_path_factory.mktemp("vault")
    (folder / "vault.py").write_text(_APP.format(broker=environment["CELERY_BROKER_URL"]))
    env = {**environment, "PYTHONPATH": f"{folder}:{ROOT}"}
    worker = [sys.executable, "-m", "celery", "-A", "vault", "worker", "-c", "2", "-n", "vault@%h", "-E"]
    vault = Vault(api, folder, env, folder / "worker.log")
    stopping = threading.Event()
    with Redis.from_url(environment["CELERY_BROKER_URL"]) as redis, redis.pubsub() as pubsub:
        pubsub.psubscribe("*")

        def listen() -> None:
            while not stopping.is_set():
                message = pubsub.get_message(timeout=0.1)
                if message is not None and isinstance(message["data"], bytes):
                    vault.heard.append(message["data"])

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            with process([*worker, "--loglevel=INFO", "--without-mingle"], vault.log, env, cwd=folder):
                wait_until(lambda: "vault.login" in str(api.data("{ taskDefinitions { name } }")), 60)
                yield vault
        finally:
            stopping.set()
            listener.join()


@pytest.fixture(autouse=True)
def _no_canary(vault: Vault) -> Iterator[None]:
    """Check after each test that what clients and operators read does not have the canary."""
    yield
    vault.ask(_ALL)
    vault.answers.append(plain_http.get(f"{vault.api.url}/tasks", params={"first": 100}).text)
    said = [*vault.answers, vault.log.read_text(), vault.api.log.read_text(), *map(str, vault.heard)]
    private = {fields.MESSAGE_PARTS, fields.HIDDEN}
    said += [str({name: value for name, value in each.items() if name not in private}) for each in vault.records()]
    assert not [text for text in said if "CANARY" in text]


def test_senders_hide_arguments(vault: Vault) -> None:
    """Functions receive the real arguments, however they are sent; clients, logs and events see others."""
    sent = vault.run(_SENT)
    secret = "CANARY".swapcase()
    assert sent["results"] == {
        "positional": ["anna", secret, None, []],
        "named": ["anna", secret, secret, []],
        "retried": ["anna", secret, None, []],
        "nested": ["anna", secret, secret, []],
        "texts": [secret, secret],
        "delayed": [secret],
        "text_retried": secret,
        "chained": secret,
        "joined": secret,
        "sending": ["replaced", secret, None, []],
        "shadow": ["anna", secret, None, []],
    }
    shown = {name: vault.task(task_id) for name, task_id in sent["ids"].items()}
    assert {name: [task["args"], task["kwargs"]] for name, task in shown.items()} == {
        "positional": [["anna", _HIDDEN], {}],
        "named": [["anna"], {"password": _HIDDEN, "card": {"number": _HIDDEN, "kind": "visa"}, "extra": _HIDDEN}],
        "retried": [["anna", _HIDDEN], {"retries": 2}],
        "nested": [["anna", _HIDDEN], {"card": {"number": _HIDDEN}}],
        "texts": [["(<redacted>)"], {"key": "***"}],
        "delayed": [["***"], {}],
        "text_retried": [["(<redacted>)"], {}],
        "chained": [[*shown["chained"]["args"][:1], _HIDDEN], {}],
        "joined": [[*shown["joined"]["args"][:1], _HIDDEN], {}],
        "sending": [[_HIDDEN], {}],
        "shadow": [["anna", _HIDDEN], {"retries": 1}],
        "exhausted": [[_HIDDEN], {}],
        "charge": [[_HIDDEN], {}],
        "charge_again": [[_HIDDEN], {}],
        "steps": [["(<it>, <hidden>)"], {}],
        "body": [[_HIDDEN], {}],
    }
    assert "args:('[REDACTED]',)" in shown["exhausted"]["error"]["message"]
    assert "1 validation error for Card\nnumber\n" in shown["charge"]["error"]["message"]
    assert "1 validation error for Card\nnumber\n" in shown["charge_again"]["error"]["message"]
    log = vault.log.read_text()
    assert [log.count("RECEIVED other name"), shown["shadow"]["name"]] == [2, "vault.login"]
    assert "RECEIVED vault.plain (<redacted>) {'key': '***'}" in log
    assert "DONE vault.login ('anna', '[REDACTED]') {'card': {'number': '[REDACTED]'}}" in log


def test_a_sender_without_the_function(vault: Vault) -> None:
    """An adopted sender that knows a name only reads what the workers have announced."""
    for task_id, result in vault.run(_BY_NAME):
        assert result == ["anna", "canary", None, []]
        task = vault.task(task_id)
        assert [task["args"], task["kwargs"]] in ([["anna", _HIDDEN], {}], [["anna"], {"password": _HIDDEN}])


def test_stock_senders(vault: Vault) -> None:
    """The record that a worker creates for a message, and its retry, hide as the function or the message says."""
    shown = [vault.task(task_id) for task_id in vault.run(_STOCK)]
    assert [[task["args"], task["kwargs"], task["result"]] for task in shown] == [
        [["anna", _HIDDEN], {"retries": 1}, ["anna", "canary", None, []]],
        [["***"], {}, ["canary"]],
        [["..."], {}, ["anna", "canary", None, []]],
        [[1, [2, "two"]], {"three": [3.5, None]}, ["1", "[2, 'TWO']", "[3.5, nONE]"]],
    ]


def test_create_and_replay(vault: Vault) -> None:
    """The API hides what the definition says, compares real inputs, and repeats the real arguments of a task."""
    definition = vault.ask("{ taskDefinitions { name redact } }")["taskDefinitions"]
    assert {"name": "vault.login", "redact": ["password", "card.number", "**more"]} in definition
    options = {"args": ["anna", "CANARY"], "kwargs": {"token": "CANARY"}, "idempotencyKey": "once"}
    created = vault.create("vault.login", **options)["task"]
    assert [created["args"], created["kwargs"]] == [["anna", _HIDDEN], {"token": _HIDDEN}]
    assert vault.create("vault.login", **options)["task"]["id"] == created["id"]
    other = vault.create("vault.login", **{**options, "args": ["anna", "CANARY2"]})
    assert [other["task"], other["userErrors"][0]["code"]] == [None, "IDEMPOTENCY_CONFLICT"]
    assert vault.task(created["id"])["result"][1] == "canary"
    wrong = vault.create("vault.login", args=["anna"], kwargs={"password": ["CANARY"], "card": "CANARY"})
    assert [error["message"] for error in wrong["userErrors"]] == [
        "kwargs.password: expected string",
        "kwargs.card: expected object or null",
    ]
    replayed = vault.ask(_REPLAY, id=created["id"])["replayTask"]["task"]
    assert [replayed["args"], replayed["kwargs"]] == [["anna", _HIDDEN], {"token": _HIDDEN}]
    assert vault.task(replayed["id"])["result"][1] == "canary"
    by_text = vault.run("""
import json
from vault import plain
sent = plain.apply_async(("CANARY",), dict(a="CANARY", b=1), kwargsrepr="{'a': '*', 'b': 1}", argsrepr="(hidden)")
print(json.dumps([sent.id, sent.get(timeout=60)]))
""")[0]
    again = vault.ask(_REPLAY, id=by_text, kwargs={"a": "CANARY", "b": 2, "c": "CANARY"})["replayTask"]["task"]
    assert [again["args"], again["kwargs"]] == [["(hidden)"], {"a": _HIDDEN, "b": 2, "c": _HIDDEN}]
    assert vault.task(again["id"])["result"] == ["canary", "canary", "2", "canary"]


def test_inspect(vault: Vault) -> None:
    """Remote control, by which Flower shows running tasks, reports the texts."""
    opened = vault.folder / "opened"
    program = f"""
import json, time
from vault import app, held, plain
sent = held.delay({str(opened)!r}, "CANARY")
for _ in range(200):
    found = app.control.inspect(["vault@" + __import__("socket").gethostname()]).active() or {{}}
    if any(found.values()):
        break
open({str(opened)!r}, "w").close()
print(json.dumps([list(found.values()), sent.get(timeout=60)]))
"""
    (((active,),), result) = vault.run(program)
    assert [active["args"], active["kwargs"], result] == [f"('{opened}', '{_HIDDEN}')", "{}", "canary"]


def test_rescheduled_and_in_bulk(vault: Vault) -> None:
    """What the API sends later, and the replays of a bulk mutation, have the real arguments."""
    waiting = vault.create("vault.login", args=["anna", "CANARY"], delaySeconds=3600)["task"]["id"]
    vault.ask(_RESCHEDULE, id=waiting)
    assert vault.task(waiting)["result"][1] == "canary"
    vault.ask(_REPLAY_ALL, ids=[waiting])
    (replay,) = [task for task in vault.ask(_REPLAYS)["tasks"]["nodes"] if task["replayOf"] == {"id": waiting}]
    assert vault.task(replay["id"])["result"][1] == "canary"
