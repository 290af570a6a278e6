"""Live lists over a WebSocket, on a real API and a real worker."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support import Api, wait_until
from websockets.sync.client import connect
from websockets.typing import Subprotocol

_CHANGES = """
subscription ($filter: TaskFilter, $since: DateTime) {
  taskChanges(filter: $filter, since: $since) { kind taskId at task { id status metadata } }
}
"""


class _Watching:
    """What a subscription has told so far."""

    def __init__(self) -> None:
        self.changes: list[dict[str, Any]] = []
        self.errors: list[Any] = []

    def kinds(self, task_id: str) -> list[str]:
        """What was told of one task, each kind once in a row."""
        kinds = [change["kind"] for change in self.changes if change["taskId"] == task_id]
        return [kind for number, kind in enumerate(kinds) if number == 0 or kinds[number - 1] != kind]


@contextmanager
def _watching(api: Api, **variables: Any) -> Iterator[_Watching]:
    watching = _Watching()
    with connect(api.websocket, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send('{"type": "connection_init"}')
        assert json.loads(socket.recv())["type"] == "connection_ack"
        payload = {"query": _CHANGES, "variables": variables}
        socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
        socket.send('{"type": "ping"}')
        pong = threading.Event()

        def read() -> None:
            for text in socket:
                message = json.loads(text)
                if message["type"] == "pong":
                    pong.set()
                elif message["type"] == "next" and message["payload"]["data"] is not None:
                    watching.changes.append(message["payload"]["data"]["taskChanges"])
                elif message["type"] in {"next", "error"}:
                    watching.errors.append(message["payload"])

        reader = threading.Thread(target=read)
        reader.start()
        assert pong.wait(10)
        yield watching
        socket.close()
        reader.join()


def _marked(mark: str, *statuses: str) -> dict[str, Any]:
    return {"metadata": [{"path": "mark", "eq": mark}], "statuses": list(statuses) or None}


def test_a_live_list_follows_its_tasks(api: Api) -> None:
    """A task comes when the filter finds it, goes when it does not, and another one is never told of."""
    mark = uuid.uuid4().hex
    with _watching(api, filter=_marked(mark, "SCHEDULED")) as watching:
        other = api.create("task_modules.add", args=[1], metadata={"mark": "other"}, delaySeconds=3600)
        task_id = api.create("task_modules.add", args=[1], metadata={"mark": mark}, delaySeconds=3600)
        wait_until(lambda: watching.kinds(task_id) == ["UPDATED"])
        api.data("mutation ($id: ID!) { cancelTask(id: $id) { task { id } } }", id=task_id)
        api.data("mutation ($id: ID!) { cancelTask(id: $id) { task { id } } }", id=other)
        wait_until(lambda: watching.kinds(task_id) == ["UPDATED", "LEFT"])
        told = {change["taskId"] for change in watching.changes}
        assert other not in told
        left = next(change for change in watching.changes if change["kind"] == "LEFT")
        assert left["task"] is None


def test_what_a_client_does_next_is_told(api: Api) -> None:
    """A subscription that is only just being begun hears what the next operation on its socket does."""
    create = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { task { id } } }"
    mark = uuid.uuid4().hex
    created = {"name": "task_modules.add", "args": [1], "metadata": {"mark": mark}, "delaySeconds": 3600}
    operations = {
        "watch": {"query": _CHANGES, "variables": {"filter": _marked(mark)}},
        "create": {"query": create, "variables": {"input": created}},
    }
    with connect(api.websocket, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send('{"type": "connection_init"}')
        assert json.loads(socket.recv())["type"] == "connection_ack"
        for id_, payload in operations.items():
            socket.send(json.dumps({"type": "subscribe", "id": id_, "payload": payload}))
        told = set[str]()
        while told != {"watch", "create"}:
            message = json.loads(socket.recv(timeout=10))
            if message["type"] == "next":
                assert "errors" not in message["payload"]
                told.add(message["id"])


def test_a_client_that_was_away_resumes(api: Api) -> None:
    """The last ``at`` that a client has is a safe ``since``: it hears what came, what left and what was deleted."""
    mark = uuid.uuid4().hex
    ended = api.create("task_modules.add", args=[1], metadata={"mark": mark})
    since = api.finished(ended)["updatedAt"]
    late = api.create("task_modules.add", args=[1], metadata={"mark": mark})
    gone = api.create("task_modules.add", args=[1], metadata={"mark": mark})
    scheduled, other = (
        api.create("task_modules.add", args=[1], metadata={"mark": each}, delaySeconds=3600) for each in (mark, "other")
    )
    for task_id in (late, gone):
        api.finished(task_id)
    api.data("mutation ($id: ID!) { deleteTask(id: $id) { deletedTaskId } }", id=gone)
    api.data("mutation ($id: ID!) { cancelTask(id: $id) { task { id } } }", id=scheduled)
    with _watching(api, filter=_marked(mark, "SUCCESS", "SCHEDULED"), since=since) as watching:
        wait_until(lambda: watching.kinds(late) == ["UPDATED"])
        wait_until(lambda: watching.kinds(scheduled) == ["LEFT"])
        wait_until(lambda: watching.kinds(gone) == ["DELETED"])
        live = api.create("task_modules.add", args=[1], metadata={"mark": mark})
        wait_until(lambda: "UPDATED" in watching.kinds(live))
        assert not watching.kinds(other)


def test_a_filter_that_cannot_be_is_an_error(api: Api) -> None:
    """It is told in the words that a list has for it."""
    with _watching(api, filter={"metadata": [{"path": "a", "eq": []}]}) as watching:
        wait_until(lambda: watching.errors or watching.changes)
        assert "filter.metadata.0.eq" in json.dumps(watching.errors)
