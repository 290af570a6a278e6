"""The hostile inputs of benchmarks/abuse.py: small requests of a large cost, and clients that do not read or speak."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pymongo.database import Database
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gql_api.record import fields

Document = dict[str, Any]

PARENT = "abuse-parent"
CHILDREN = 500
LARGE, LARGE_BYTES = 20, 10_000_000
# Catastrophic for an engine that backtracks: the time doubles with each character.
HOSTILE_PATTERN = "^(a+)+$"
HOSTILE_TASK = "abuse.pattern"
_TEXT_LIMIT = 90
# A client that gets no answer in this time gives up.
_PATIENCE = 60.0
_PAGE = "tasks(first: 400) { nodes { %s } }"


@dataclass(frozen=True)
class Target:
    """The API under attack, and the database behind it."""

    port: int
    database: Database[Document]
    change: Callable[[str], None]

    @property
    def url(self) -> str:
        """The URL of GraphQL."""
        return f"http://127.0.0.1:{self.port}/graphql"

    async def post(self, query: str, **variables: Any) -> str:
        """Run an operation over HTTP and return the outcome in a few words."""
        return await self.post_bytes(json.dumps({"query": query, "variables": variables}).encode())

    async def post_bytes(self, body: bytes) -> str:
        """Post a body and return the outcome in a few words."""
        async with httpx.AsyncClient(timeout=_PATIENCE) as client:
            try:
                answer = await client.post(self.url, content=body, headers={"Content-Type": "application/json"})
            except httpx.TransportError as error:
                return type(error).__name__
        return f"{answer.status_code}, {_problem(answer.content)}"

    @contextlib.asynccontextmanager
    async def socket(self) -> Any:
        """Open a socket that is initialized, with a client that answers pings as long as it reads."""
        url = f"ws://127.0.0.1:{self.port}/graphql"
        async with connect(
            url, subprotocols=[Subprotocol("graphql-transport-ws")], max_size=None, compression=None, ping_interval=None
        ) as opened:
            await opened.send('{"type": "connection_init"}')
            await opened.recv()
            yield opened


@dataclass(frozen=True)
class Input:
    """A hostile input. ``send`` returns the outcome in a few words."""

    name: str
    send: Callable[[Target], Coroutine[Any, Any, str]]


def _problem(content: bytes) -> str:
    """Return the first error of an answer, otherwise its size."""
    with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
        message: str = json.loads(content)["errors"][0]["message"]
        return message if len(message) < _TEXT_LIMIT else f"{message[:_TEXT_LIMIT]}…"
    return f"{len(content):,} bytes"


def _query(name: str, text: str, **variables: Any) -> Input:
    return Input(name, lambda target: target.post(text, **variables))


def _aliases(count: int, field: str) -> str:
    return f"{{ {' '.join(f'a{number}: {field}' for number in range(count))} }}"


def _nested_children(depth: int, first: int) -> str:
    selection = "id"
    for _ in range(depth):
        selection = f"parent {{ children(first: {first}) {{ nodes {{ {selection} }} }} }}"
    return f'{{ task(id: "{PARENT}") {{ children(first: {first}) {{ nodes {{ {selection} }} }} }} }}'


def _subscribe(id_: str, query: str, **variables: Any) -> str:
    return json.dumps({"id": id_, "type": "subscribe", "payload": {"query": query, "variables": variables}})


async def _sent(opened: ClientConnection, frames: Sequence[str | bytes]) -> str:
    """Send frames until the server closes or no longer reads; return the close code."""
    try:
        async with asyncio.timeout(10):
            for frame in frames:
                await opened.send(frame)
    except ConnectionClosed as closed:
        return f"closed with {closed.rcvd.code if closed.rcvd else 1006}"
    except TimeoutError:
        return "not read any more"
    return "taken"


def _unread(sockets: int) -> Input:
    """Sockets with 20 queries each, whose client never reads."""
    pages = _aliases(10, _PAGE % "id metadata kwargs history { message }")
    frames = [_subscribe(str(number), pages) for number in range(20)]

    async def send(target: Target) -> str:
        async with contextlib.AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(target.socket()) for _ in range(sockets)]
            for each in opened:
                each.transport.pause_reading()
            outcomes = await asyncio.gather(*(_sent(each, frames) for each in opened))
            await asyncio.sleep(8)
            for each in opened:
                each.transport.abort()
        return ", ".join(sorted(set(outcomes)))

    return Input(f"20 queries on each of {sockets} sockets that are never read", send)


def _on_socket(name: str, frames: Callable[[], Sequence[str | bytes]]) -> Input:
    async def send(target: Target) -> str:
        opened: ClientConnection
        async with target.socket() as opened:
            reading = asyncio.create_task(_drain(opened))
            outcome = await _sent(opened, frames())
            done, _ = await asyncio.wait({reading}, timeout=3)
            if done and outcome == "taken":
                outcome = reading.result()
            reading.cancel()
        return outcome

    return Input(name, send)


async def _drain(opened: ClientConnection) -> str:
    try:
        while True:
            await opened.recv()
    except ConnectionClosed as closed:
        return f"closed with {closed.rcvd.code if closed.rcvd else 1006}"


def _watch_and_leave() -> list[str]:
    query = 'subscription { taskUpdated(id: "%s") { id } }'
    frames = list[str]()
    for number in range(5_000):
        frames += [
            _subscribe(str(number), query % f"{PARENT}-{number}"),
            json.dumps({"id": str(number), "type": "complete"}),
        ]
    return frames


async def _large_documents(target: Target) -> str:
    outcome = ""
    for number in range(15):
        fields_ = " ".join(f"a{number}x{index}: __typename" for index in range(15_000))
        outcome = await target.post(f"{{ {fields_} }}")
    return outcome


async def _large_headers(target: Target) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    outcome = "taken"
    try:
        async with asyncio.timeout(_PATIENCE):
            writer.write(b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            for number in range(50_000):
                writer.write(b"X-%d: %b\r\n" % (number, b"x" * 1_000))
                await writer.drain()
            writer.write(b"\r\n")
            line = await reader.readline()
            outcome = line.decode().strip() or "closed"
    except (OSError, TimeoutError) as error:
        outcome = type(error).__name__
    writer.transport.abort()
    return outcome


async def _silent_connections(target: Target) -> str:
    """Connections that say nothing, or half a request: how many are open after 15 s."""
    opened = list[socket.socket]()
    for number in range(400):
        each = socket.create_connection(("127.0.0.1", target.port))
        each.setblocking(False)
        opened.append(each)
        if number % 2:
            each.send(b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le")
    await asyncio.sleep(15)
    alive = sum(_is_open(each) for each in opened)
    for each in opened:
        each.close()
    return f"{alive} of {len(opened)} open after 15 s"


def _is_open(connection: socket.socket) -> bool:
    # An answer to half a request may come before the end of the connection.
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


async def _slow_lists(target: Target) -> str:
    conditions = '{metadata: [{path: "items.quantity", gt: %d}, {path: "tags", startsWith: "zz"}]}'
    lists = " ".join(f"a{number}: tasks(filter: {conditions % number}) {{ totalCount }}" for number in range(32))
    return await target.post(f"{{ {lists} }}")


async def _many_filters(target: Target) -> str:
    """2,000 lists of 90 conditions each, over 100 sockets; then 50 changes."""
    conditions = [{"path": f"a.b{number}.c", "gt": number} for number in range(90)]
    query = "subscription ($f: TaskFilter) { taskChanges(filter: $f) { taskId } }"
    async with contextlib.AsyncExitStack() as stack:
        outcomes = list[str]()
        readers = list[asyncio.Task[str]]()
        for number in range(100):
            opened = await stack.enter_async_context(target.socket())
            readers.append(asyncio.create_task(_drain(opened)))
            frames = [
                _subscribe(str(index), query, f={"OR": [{"metadata": [condition]} for condition in conditions]})
                for index in range(number * 20, number * 20 + 20)
            ]
            outcomes.append(await _sent(opened, frames))
        await asyncio.sleep(1)
        for number in range(50):
            await asyncio.to_thread(target.change, f"{PARENT}-{number}")
            await asyncio.sleep(0.02)
        for reader in readers:
            reader.cancel()
    return ", ".join(sorted(set(outcomes)))


async def _streams(target: Target) -> str:
    query = json.dumps({"query": f'subscription {{ taskUpdated(id: "{PARENT}") {{ id }} }}'}).encode()
    head = (
        b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n"
    )
    statuses, opened = set[str](), list[asyncio.StreamWriter]()
    for _ in range(1_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(query) + query)
        opened.append(writer)
        try:
            async with asyncio.timeout(10):
                statuses.add((await reader.readline()).decode().strip() or "closed")
        except (OSError, TimeoutError) as error:
            statuses.add(type(error).__name__)
    for writer in opened:
        writer.transport.abort()
    return ", ".join(sorted(statuses))


async def _pattern(target: Target) -> str:
    query = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { userErrors { message } } }"
    return await target.post(query, input={"name": HOSTILE_TASK, "kwargs": {"text": "a" * 28 + "!"}})


def _deep_filter(depth: int) -> Document:
    filter_: Document = {}
    for _ in range(depth):
        filter_ = {"AND": [filter_]}
    return filter_


def _deep_metadata(depth: int) -> Document:
    value: Document = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def _lines(text: str, count: int) -> Iterator[str]:
    return (text % number for number in range(count))


_TYPES = "__schema { types { fields { type { fields { type { name } } } } } }"
_CREATE = 'createTask(input: { name: "abuse.none" }) { userErrors { message } }'
_DELETE = 'deleteTasks(filter: { names: ["abuse.none"] }, dryRun: false) { matched }'
_LIST_WITH_FILTER = "query ($f: TaskFilter) { tasks(first: 1, filter: $f) { totalCount } }"
_CREATE_WITH = 'mutation ($m: JSON) { createTask(input: { name: "abuse.none", metadata: $m }) { created } }'

INPUTS: tuple[Input, ...] = (
    _query("children, three deep, 100 each (161 bytes)", _nested_children(2, 100)),
    _query("children, two deep, 500 each", _nested_children(1, 500)),
    _query("100 aliases of 400 tasks with their metadata", _aliases(100, _PAGE % "metadata")),
    _query("3 aliases of deleteTasks", "mutation " + _aliases(3, _DELETE)),
    _query("20 tasks with results of 10 MB", '{ tasks(filter: { names: ["abuse.large"] }) { nodes { result } } }'),
    _unread(1),
    _unread(5),
    Input("15 documents of 300 KB", _large_documents),
    Input("a body of 100 MB", lambda target: target.post_bytes(b'{"query": "%b"}' % (b" " * 100_000_000))),
    Input("headers of 50 MB", _large_headers),
    _query("5,000 aliases of tasks(first: 0)", _aliases(5_000, "tasks(first: 0) { nodes { id } }")),
    _query("200 aliases of __schema", _aliases(200, _TYPES)),
    _query("50,000 aliases of __typename", _aliases(50_000, "__typename")),
    _query("20,000 operations", " ".join(_lines("query a%d { __typename }", 20_000))),
    _query("20,000 directives on a field", "{ __typename %s }" % ("@include(if: true) " * 20_000)),
    _query("950 aliases of createTask", "mutation " + _aliases(950, _CREATE)),
    Input("JSON, 100,000 levels deep", lambda target: target.post_bytes(b"[" * 100_000)),
    _query("a filter, 400 levels deep", _LIST_WITH_FILTER, f=_deep_filter(400)),
    _query("metadata, 400 levels deep", _CREATE_WITH, m=_deep_metadata(400)),
    _query("a page of 5,000 digits", "{ tasks(first: %s) { nodes { id } } }" % ("9" * 5_000)),
    Input("32 counts without an index", _slow_lists),
    Input("a pattern that backtracks", _pattern),
    _on_socket("5,000 times subscribe and complete", _watch_and_leave),
    _on_socket("a frame of 16 MB", lambda: ["x" * 16_000_000]),
    Input("400 connections that say nothing, or half a request", _silent_connections),
    Input("1,000 streams from one address", _streams),
    Input("2,000 live lists of 90 conditions, and 50 changes", _many_filters),
)
HOSTILE_DEFINITION: Document = {
    "type": "object",
    "properties": {"text": {"type": "string", "pattern": HOSTILE_PATTERN}},
    "required": ["text"],
}


def large_documents(document: Document) -> Iterator[Document]:
    """Yield the tasks with large results, made from an ordinary document."""
    for number in range(LARGE):
        yield document | {
            fields.ID: f"abuse-large-{number}",
            fields.NAME: "abuse.large",
            fields.RESULT: "x" * LARGE_BYTES,
        }
