"""Watchers of tasks that do not exist yet: the later steps of a chain, whose ids its sender knows."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from support import HELPERS, ROOT, Api
from websockets.sync.client import connect
from websockets.sync.connection import Connection
from websockets.typing import Subprotocol

_CHAIN = """
import json, sys
from celery import chain
from jobs.celery import app
app.loader.import_default_modules()
from task_modules import *
result = chain(wait_for_key.si(sys.argv[1]), wait_for_key.si(sys.argv[1] + "-second"), echoes_log.si("heard"))()
print(json.dumps([result.parent.parent.id, result.parent.id, result.id]))
"""
_TASK = 'subscription { taskUpdated(id: "%s", waitForCreation: true) { status isFinal } }'
_LOG = 'subscription { taskLogged(id: "%s", waitForCreation: true) { message } }'
_CANCEL = 'mutation { cancelTask(id: "%s", force: true) { userErrors { code } } }'


@contextlib.contextmanager
def _opened(api: Api, *subscriptions: str) -> Iterator[Connection]:
    """Open subscriptions over one socket; its pong says that they miss nothing from then on."""
    with connect(api.websocket, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send('{"type": "connection_init"}')
        for number, query in enumerate(subscriptions):
            socket.send(json.dumps({"type": "subscribe", "id": str(number), "payload": {"query": query}}))
        socket.send('{"type": "ping"}')
        assert json.loads(socket.recv(timeout=30))["type"] == "connection_ack"
        # The state in which a task is at the beginning may come before the pong.
        while json.loads(socket.recv(timeout=30))["type"] != "pong":
            pass
        yield socket


def _results(socket: Connection, count: int) -> list[list[Any]]:
    """Return what each of some subscriptions receives until it completes."""
    found: list[list[Any]] = [[] for _ in range(count)]
    completed = 0
    while completed < count:
        message = json.loads(socket.recv(timeout=30))
        completed += message["type"] == "complete"
        if message["type"] == "next":
            payload, results = message["payload"], found[int(message["id"])]
            results.extend(error["extensions"]["code"] for error in payload.get("errors", ()))
            results.extend((payload["data"] or {}).values())
    return found


@pytest.fixture
def key(redis: Redis) -> Iterator[str]:
    """What the first step of the chain waits for; the second waits for another key, which begins with this one."""
    key = uuid.uuid4().hex
    yield key
    redis.delete(key, f"{key}-second")


@pytest.fixture
def chain(api: Api, environment: dict[str, str], key: str) -> list[str]:
    """The ids of the steps of a chain whose first step waits for the key."""
    assert api
    env = {**environment, "PYTHONPATH": f"{HELPERS}:{ROOT}"}
    command = [sys.executable, "-c", _CHAIN, key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env)
    ids: list[str] = json.loads(done.stdout)
    return ids


def test_later_steps_of_a_chain_are_watched_before_they_are_sent(
    api: Api, redis: Redis, key: str, chain: list[str]
) -> None:
    """Watchers of a step receive it from its creation to its end, and so do two watchers and the log of the next."""
    _, second, last = chain
    with _opened(api, _TASK % second, _TASK % last, _TASK % last, _LOG % last) as socket:
        redis.lpush(key, 1)
        # Until it has its key, the second step cannot end, so that no final state replaces this one.
        created: dict[str, Any] = {"id": ""}
        while created["id"] != "0":
            created = json.loads(socket.recv(timeout=30))
        redis.lpush(f"{key}-second", 1)
        *watches, log = _results(socket, 4)
    assert created["payload"]["data"]["taskUpdated"]["isFinal"] is False
    for states in watches:
        assert states[-1] == {"status": "SUCCESS", "isFinal": True}
        assert not any(state["isFinal"] for state in states[:-1])
    assert [line["message"] for line in log] == ["heard"]


def test_watchers_of_steps_that_never_run_receive_their_end(api: Api, chain: list[str]) -> None:
    """When the first step is cancelled, the later ones are REVOKED, and their watches complete."""
    first, second, last = chain
    with _opened(api, _TASK % second, _TASK % last, _LOG % last) as socket:
        assert api.data(_CANCEL % first)["cancelTask"]["userErrors"] == []
        revoked = {"status": "REVOKED", "isFinal": True}
        second_states, last_states, log = _results(socket, 3)
    assert (second_states[-1], last_states[-1], log) == (revoked, revoked, [])


def test_a_deleted_task_is_not_waited_for(api: Api) -> None:
    """Its id will not come back: the watch ends with NOT_FOUND."""
    task_id = api.create("task_modules.add", args=[1])
    api.finished(task_id)
    api.data(f'mutation {{ deleteTask(id: "{task_id}") {{ deletedTaskId }} }}')
    with connect(api.websocket, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send('{"type": "connection_init"}')
        for number, query in enumerate([_TASK, _LOG]):
            payload = {"query": query % task_id}
            socket.send(json.dumps({"type": "subscribe", "id": str(number), "payload": payload}))
        assert json.loads(socket.recv(timeout=30))["type"] == "connection_ack"
        assert _results(socket, 2) == [["NOT_FOUND"], ["NOT_FOUND"]]
