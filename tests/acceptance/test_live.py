"""Live updates of a production server under load, cuts, clients that do not read, and shutdowns."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import plain_http
import psutil
import pytest
from ports import free_port
from redis import Redis
from support import ROOT, Api, process, wait_until, wait_until_async
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gql_api.record import writes
from gql_api.record.model import NewTask, Progress
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

_PROTOCOL = Subprotocol("graphql-transport-ws")
# Of 300 KB each: more than the buffers of two sockets hold.
_ROUNDS = 200
_UVICORN = ("uvicorn", "gql_api.app:app", "--ws=gql_api.server.websocket_protocol:WebSocketProtocol")
_WATCH = "subscription ($id: ID!) { taskUpdated(id: $id) { id revision isFinal progress { message } } }"


@contextlib.contextmanager
def _serve(environment: dict[str, str], log: Path, *command: str) -> Iterator[tuple[Api, subprocess.Popen[bytes]]]:
    """Run a replica."""
    port = free_port()
    api = Api(f"http://127.0.0.1:{port}", log, log)
    with process([sys.executable, "-m", *command, f"--port={port}"], log, environment) as started:
        wait_until(lambda: _is_ready(api), 60)
        yield api, started


def _is_ready(api: Api) -> bool:
    try:
        return plain_http.get(f"{api.url}/readyz").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def replica(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Api, subprocess.Popen[bytes]]]:
    """A production server."""
    with _serve(environment, tmp_path_factory.mktemp("live") / "log", "gql_api", "serve") as served:
        yield served


@pytest.fixture
def worker(environment: dict[str, str]) -> Iterator[Store]:
    """A worker's side of the records, without a worker."""
    settings = Settings(
        mongodb_url=environment["MONGODB_URL"],
        mongodb_database=environment["MONGODB_DATABASE"],
        celery_broker_url=environment["CELERY_BROKER_URL"],
    )
    connections = Connections(settings)
    yield Store(connections)
    connections.close()


def _created(worker: Store, count: int = 1) -> list[str]:
    """Records of tasks that nothing runs."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    for id_ in ids:
        worker.change(writes.create(NewTask(id=id_, name="live")), upsert=True)
    return ids


@contextlib.asynccontextmanager
async def _socket(api: Api, **options: Any) -> AsyncIterator[ClientConnection]:
    async with connect(api.websocket, subprotocols=[_PROTOCOL], **options) as socket:
        await socket.send('{"type": "connection_init"}')
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        yield socket


async def _subscribe(socket: ClientConnection, id_: str, query: str = _WATCH, **variables: Any) -> None:
    payload = {"query": query, "variables": {"id": id_, **variables}}
    await socket.send(json.dumps({"type": "subscribe", "id": id_, "payload": payload}))


class _Watcher:
    """Follows some tasks over one socket to their ends."""

    def __init__(self, ids: list[str]) -> None:
        self.told: dict[str, list[dict[str, Any]]] = {id_: [] for id_ in ids}

    async def follow(self, socket: ClientConnection) -> None:
        """Subscribe to all, and read until all are complete."""
        for id_ in self.told:
            await _subscribe(socket, id_)
        complete = 0
        while complete < len(self.told):
            message = json.loads(await socket.recv())
            if message["type"] == "next":
                self.told[message["id"]].append(message["payload"]["data"]["taskUpdated"])
            else:
                assert message["type"] == "complete"
                complete += 1

    def check(self) -> None:
        """All rose, and ended with the end."""
        for told in self.told.values():
            revisions = [task["revision"] for task in told]
            assert revisions == sorted(set(revisions))
            assert [task["isFinal"] for task in told] == [False] * (len(told) - 1) + [True]


async def _follow(api: Api, ids: list[str]) -> _Watcher:
    watcher = _Watcher(ids)
    async with _socket(api) as socket:
        await asyncio.wait_for(watcher.follow(socket), 60)
    return watcher


async def test_every_watcher_ends_right_though_the_feed_is_cut(
    replica: tuple[Api, subprocess.Popen[bytes]], worker: Store, redis: Redis
) -> None:
    """Of 400 events some are lost with the connection to Redis, twice; everybody still sees the end."""
    (id_,) = _created(worker)
    watchers = [asyncio.create_task(_follow(replica[0], [id_])) for _ in range(40)]
    await wait_until_async(lambda: _subscribed(redis, id_))

    def run() -> None:
        worker.change(writes.start(id_, worker="w"))
        for number in range(400):
            worker.change(writes.progress(id_, Progress(message=str(number))), quick=True)
            if number in {130, 270}:
                for client in redis.client_list(_type="pubsub"):
                    redis.client_kill_filter(_id=client["id"])
        worker.change(writes.succeed(id_, 1))

    await asyncio.to_thread(run)
    for watcher in await asyncio.gather(*watchers):
        watcher.check()
        assert watcher.told[id_][-1]["revision"] == 403


async def _subscribed(redis: Redis, task_id: str) -> bool:
    return bool(redis.pubsub_channels(f"gql-api:*:task:{task_id}"))


async def test_a_thousand_tasks_that_end_while_they_are_subscribed_to(
    replica: tuple[Api, subprocess.Popen[bytes]], worker: Store
) -> None:
    """Whichever comes first, the subscription or the end: 1,000 of 1,000 see the end."""
    ids = await asyncio.to_thread(_created, worker, 1000)
    watchers = [asyncio.create_task(_follow(replica[0], ids[start : start + 20])) for start in range(0, 1000, 20)]

    def run() -> None:
        for id_ in ids:
            worker.change(writes.succeed(id_, 1), quick=True)

    await asyncio.to_thread(run)
    for watcher in await asyncio.gather(*watchers):
        watcher.check()


@pytest.fixture
def patient(environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[Api, subprocess.Popen[bytes]]]:
    """A server that drops no client because of its pings: a test may take longer than clients have for an answer."""
    pings = ("--ws-ping-interval=600", "--ws-ping-timeout=600", "--ws-per-message-deflate=false")
    with _serve(environment, tmp_path / "log", *_UVICORN, *pings) as served:
        yield served


async def test_a_client_that_does_not_read_costs_little_and_delays_nobody(
    patient: tuple[Api, subprocess.Popen[bytes]], worker: Store
) -> None:
    """Of 60 MB that it does not let the server send it is told the end, when it reads again."""
    api, served = patient
    ids = await asyncio.to_thread(_created, worker, 10)
    memory = psutil.Process(served.pid).memory_info
    size = 30_000
    # The second one must not wait at its end for an answer that its library does not read behind untaken messages.
    async with (
        _socket(api, max_queue=1, ping_interval=None) as stopped,
        _socket(api, max_queue=None) as reading,
    ):
        for id_ in ids:
            await _subscribe(stopped, id_)
            # Not shared with the other: each of its payloads is bytes of its own.
            await _subscribe(reading, id_, _WATCH.replace("isFinal", "isFinal status"))
        told = dict.fromkeys(ids, 0)

        async def read(until: int) -> None:
            while min(told.values()) < until:
                message = json.loads(await reading.recv())
                if message["type"] == "next":
                    told[message["id"]] = message["payload"]["data"]["taskUpdated"]["revision"]

        await asyncio.wait_for(read(1), 20)
        before = memory().rss
        most = 0
        for number in range(_ROUNDS):
            for id_ in ids:
                write = writes.progress(id_, Progress(message=f"{number} " + "x" * size))
                await asyncio.to_thread(worker.change, write if number else writes.start(id_, worker="w"), quick=True)
            # The other one is told each, while this one reads nothing.
            await asyncio.wait_for(read(number + 2), 20)
            most = max(most, memory().rss - before)
        assert most < 20 * 2**20
        for id_ in ids:
            await asyncio.to_thread(worker.change, writes.succeed(id_, 1), quick=True)
        ended = set[str]()
        messages = 0
        while len(ended) < len(ids):
            message = json.loads(await asyncio.wait_for(stopped.recv(), 20))
            messages += 1
            if message["type"] == "next" and message["payload"]["data"]["taskUpdated"]["isFinal"]:
                ended.add(message["id"])
        assert messages < _ROUNDS * len(ids) * 0.9


async def test_a_dead_peer_is_dropped(environment: dict[str, str], worker: Store, redis: Redis, tmp_path: Path) -> None:
    """One that answers no ping is gone, also when what was written to it before cannot leave."""
    # The clients have more time than a living one needs on a busy machine.
    pings = ("--ws-ping-interval=0.5", "--ws-ping-timeout=3")
    with _serve(environment, tmp_path / "log", *_UVICORN, *pings) as (api, _):
        await asyncio.gather(*(_is_dropped(api, worker, redis, has_unread=has_unread) for has_unread in (False, True)))


async def _is_dropped(api: Api, worker: Store, redis: Redis, *, has_unread: bool) -> None:
    """Subscribe, stop reading, and wait until the server has forgotten the subscription."""
    (id_,) = _created(worker)
    # The closing handshake of a client that does not read never ends.
    async with _socket(api, max_queue=1, ping_interval=None, close_timeout=0.1) as socket:
        await _subscribe(socket, id_)
        await wait_until_async(lambda: _subscribed(redis, id_))
        socket.transport.pause_reading()
        await asyncio.to_thread(worker.change, writes.start(id_, worker="w"))
        number = 0

        async def forgotten() -> bool:
            nonlocal number
            number += 1
            if has_unread:
                write = writes.progress(id_, Progress(message=f"{number} " + "x" * 30_000))
                for _ in range(20):
                    await asyncio.to_thread(worker.change, write, quick=True)
            return not await _subscribed(redis, id_)

        await wait_until_async(forgotten, 40)


_FAILOVER = """
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
const urls = process.argv[2].split(',');
let attempt = 0;
const client = createClient({
  url: () => urls[attempt++ % urls.length],
  webSocketImpl: WebSocket,
  retryAttempts: 5,
  retryWait: async () => {},
  shouldRetry: () => true,
  on: { closed: (event) => console.log(JSON.stringify({ closed: event.code })) },
});
const query = process.argv[4];
for await (const { data } of client.iterate({ query, variables: { id: process.argv[3] } })) {
  console.log(JSON.stringify(data.taskUpdated));
}
await client.dispose();
"""


async def test_a_shutdown_sends_watchers_to_another_replica(
    replica: tuple[Api, subprocess.Popen[bytes]], environment: dict[str, str], worker: Store, tmp_path: Path
) -> None:
    """graphql-ws, told 1001, watches on at another replica and misses nothing; the first is gone in time."""
    if not (ROOT / "tests" / "js" / "node_modules").exists():
        pytest.skip("Node.js and npm are not installed")
    (id_,) = _created(worker)
    folder = ROOT / "tests" / "js" / ".examples"
    folder.mkdir(exist_ok=True)
    script = folder / f"{uuid.uuid4().hex}.mjs"
    script.write_text(_FAILOVER)
    with _serve(environment, tmp_path / "log", "gql_api", "serve", "--drain-seconds=5") as (leaving, served):
        urls = f"{leaving.websocket},{replica[0].websocket}"
        client = await asyncio.create_subprocess_exec(
            "node", str(script), urls, id_, _WATCH, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert client.stdout is not None
            lines = client.stdout
            assert json.loads(await asyncio.wait_for(lines.readline(), 20))["revision"] == 1
            served.send_signal(signal.SIGTERM)
            assert json.loads(await asyncio.wait_for(lines.readline(), 20)) == {"closed": 1001}
            worker.change(writes.start(id_, worker="w"))
            worker.change(writes.succeed(id_, 1))
            rest = [json.loads(line) async for line in lines]
            assert await asyncio.wait_for(client.wait(), 20) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                client.kill()
            script.unlink()
        told = [task for task in rest if "revision" in task]
        assert told[-1]["isFinal"]
        revisions = [task["revision"] for task in told]
        assert revisions == sorted(set(revisions))
        wait_until(lambda: served.poll() is not None, 10)
