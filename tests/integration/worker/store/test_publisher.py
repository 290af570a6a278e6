from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port
from proxy import Mode, Proxy
from redis import Redis
from redis.exceptions import RedisError
from support import process, wait_until

from gql_api.cli.embedded_servers import RedisServer, is_listening
from gql_api.worker.store.publisher import Publisher

_CHANNEL = "task:t"


@pytest.fixture
def server(tmp_path: Path) -> RedisServer:
    """A Redis of the test's own, not started yet."""
    return RedisServer(tmp_path / "redis", free_port())


@pytest.fixture
def publisher(server: RedisServer) -> Iterator[Publisher]:
    """Return the publisher under test."""
    publisher = Publisher(server.url, 1.0)
    yield publisher
    publisher.close()


def _publish(publisher: Publisher, payload: bytes) -> bool:
    try:
        publisher.publish([(_CHANNEL, payload)])
    except (RedisError, OSError):
        return False
    return True


def test_events_arrive_in_their_order(server: RedisServer, publisher: Publisher, tmp_path: Path) -> None:
    """A thousand events arrive in their order, each once, though the publisher waits for no reply."""
    with process(server.command(), tmp_path / "log"), Redis.from_url(server.url) as redis:
        wait_until(lambda: is_listening(server.port))
        with redis.pubsub() as pubsub:
            pubsub.subscribe(_CHANNEL)
            pubsub.get_message(timeout=5)
            for number in range(1000):
                publisher.publish([(_CHANNEL, str(number).encode())])
            received = [pubsub.get_message(timeout=5) for _ in range(1000)]
    assert [int(message["data"]) for message in received if message] == list(range(1000))


def test_a_batch_arrives_in_its_order(server: RedisServer, publisher: Publisher, tmp_path: Path) -> None:
    """Events that are sent by one call, large and small, arrive one by one in their order."""
    payloads = [str(number).encode() * size for number in range(1, 100) for size in (1, 10_000)]
    with process(server.command(), tmp_path / "log"), Redis.from_url(server.url) as redis:
        wait_until(lambda: is_listening(server.port))
        with redis.pubsub() as pubsub:
            pubsub.subscribe(_CHANNEL)
            pubsub.get_message(timeout=5)
            publisher.publish([(_CHANNEL, payload) for payload in payloads])
            received = [pubsub.get_message(timeout=5) for _ in payloads]
    assert [message["data"] for message in received if message] == payloads


def test_a_batch_that_breaks_a_connection_is_sent_again(
    server: RedisServer, publisher: Publisher, tmp_path: Path
) -> None:
    """A connection that breaks while a batch is written, with Redis there, loses none of the batch's events."""
    with process(server.command(), tmp_path / "log"), Redis.from_url(server.url) as redis:
        wait_until(lambda: is_listening(server.port))
        with redis.pubsub() as pubsub:
            pubsub.subscribe(_CHANNEL)
            pubsub.get_message(timeout=5)
            publisher.publish([(_CHANNEL, b"before")])
            # A peer that reads no more breaks the write, and nothing can be seen of it before.
            broken, peer = socket.socketpair()
            peer.shutdown(socket.SHUT_RD)
            connection = publisher._connection  # noqa: SLF001 - no server breaks a connection at this very moment
            with connection._sock, peer:  # noqa: SLF001 - the same
                connection._sock = broken  # noqa: SLF001 - the same
                publisher.publish([(_CHANNEL, b"first"), (_CHANNEL, b"second")])
            received = [pubsub.get_message(timeout=5) for _ in range(3)]
    assert [message["data"] for message in received if message] == [b"before", b"first", b"second"]


def test_a_redis_that_went_away_is_an_error_until_it_is_back(
    server: RedisServer, publisher: Publisher, tmp_path: Path
) -> None:
    """Without Redis an event is refused at once; the first event after its return arrives."""
    assert not _publish(publisher, b"lost")
    for payload in (b"first", b"second"):
        with process(server.command(), tmp_path / "log"), Redis.from_url(server.url) as redis:
            wait_until(lambda: is_listening(server.port))
            with redis.pubsub() as pubsub:
                pubsub.subscribe(_CHANNEL)
                pubsub.get_message(timeout=5)
                assert _publish(publisher, payload)
                message = pubsub.get_message(timeout=5)
                assert message is not None
                assert message["data"] == payload
        assert not _publish(publisher, b"lost")


def test_connections_are_replaced_without_limit(server: RedisServer, publisher: Publisher, tmp_path: Path) -> None:
    """A publisher that has lost its connection more than a hundred times, redis-py's limit, still publishes."""
    with process(server.command(), tmp_path / "log"), Redis.from_url(server.url) as redis:
        wait_until(lambda: is_listening(server.port))
        for _ in range(101):
            assert _publish(publisher, b"event")
            killed = redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert killed == 1


def test_a_half_open_connection_is_replaced(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that swallows events and does not answer is replaced within seconds, and events arrive again."""
    monkeypatch.setattr("gql_api.worker.store.publisher._CHECK_SECONDS", 0.1)
    with (
        process(server.command(), tmp_path / "log"),
        (tmp_path / "proxy.log").open("wb") as log,
        Redis.from_url(server.url) as redis,
    ):
        wait_until(lambda: is_listening(server.port))
        with Proxy({"redis": server.port}, log) as proxy, redis.pubsub() as pubsub:
            publisher = Publisher(f"redis://127.0.0.1:{proxy.port('redis')}/0", 0.5)
            pubsub.subscribe(_CHANNEL)
            pubsub.get_message(timeout=5)
            assert _publish(publisher, b"before")
            assert pubsub.get_message(timeout=5)
            proxy.set("redis", Mode.HALF_OPEN)
            wait_until(lambda: _publish(publisher, b"after") and pubsub.get_message(timeout=0.05))
            publisher.close()


def test_a_redis_that_does_not_answer_delays_few_tasks(server: RedisServer, tmp_path: Path) -> None:
    """While connections hang, an event is refused at once, except for one every few seconds that tries again."""
    with process(server.command(), tmp_path / "log"), (tmp_path / "proxy.log").open("wb") as log:
        wait_until(lambda: is_listening(server.port))
        with Proxy({"redis": server.port}, log) as proxy:
            proxy.set("redis", Mode.HANG)
            publisher = Publisher(f"redis://127.0.0.1:{proxy.port('redis')}/0", 0.5)
            began = time.monotonic()
            assert not any(_publish(publisher, b"event") for _ in range(100))
            # A hundred that each wait would take fifty seconds.
            assert time.monotonic() - began < 20
            publisher.close()
