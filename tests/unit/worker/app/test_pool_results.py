"""Results that a pool process sends through a real pipe, read by Celery's own reader."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery.concurrency.asynpool import ResultHandler
from kombu.asynchronous import Hub

from gql_api.worker.app.pool_results import KeepPartialResults


class Pool:
    """A handler of results with one pipe, as the event loop of a worker uses it."""

    def __init__(self) -> None:
        self.fd, self._writer = os.pipe()
        os.set_blocking(self.fd, False)
        self.results: list[Any] = []
        self.flushed: list[Any] = []
        self.process = SimpleNamespace(outqR_fd=self.fd)
        self.hub: Any = Hub()  # type: ignore[no-untyped-call] # kombu has no types
        self.handler = ResultHandler.__new__(ResultHandler)
        self.handler.fileno_to_outq = {self.fd: self.process}
        self.handler.on_state_change = self.results.append
        self.process_flush_queues = self.flushed.append
        self._result_handler = self.handler
        self.step = KeepPartialResults(self)
        self.step.start(SimpleNamespace(pool=SimpleNamespace(_pool=self)))
        self.reset()

    def reset(self) -> None:
        """Begin with a new event loop, as after each loss of the broker."""
        self.hub.reset()
        self.handler.register_with_event_loop(self.hub)

    def write(self, content: bytes) -> None:
        """Let the process write, and the event loop read."""
        os.write(self._writer, content)
        callback, args = self.hub.readers.get(self.fd, (self.handler.handle_event, (self.fd,)))
        with contextlib.suppress(StopIteration):
            callback(*args) if callable(callback) else next(callback)

    def close(self) -> None:
        """Close the pipe and the event loop."""
        os.close(self.fd)
        os.close(self._writer)
        self.hub.close()


@pytest.fixture
def pool() -> Iterator[Pool]:
    """Make a pool that sends nothing yet."""
    pool = Pool()
    yield pool
    pool.close()


def _sent(result: object) -> bytes:
    content = pickle.dumps(result)
    return struct.pack(">i", len(content)) + content


@pytest.mark.parametrize("read", [2, 4, 20])
def test_a_result_is_read_on_after_a_reset(pool: Pool, read: int) -> None:
    """Whatever part of a result the loop has read when it is reset, it reads the rest, and then the next result."""
    first = _sent("x" * 100)
    pool.write(first[:read])
    for _ in range(2):
        pool.reset()
    pool.write(first[read:])
    pool.reset()
    pool.write(_sent("next"))
    assert pool.results == ["x" * 100, "next"]


def test_another_process_at_the_same_number_is_read_from_its_beginning(pool: Pool) -> None:
    """A part of a result is not taken for the beginning of another process's, whose pipe has the same number."""
    pool.write(_sent("never complete")[:10])
    pool.reset()
    pool.handler.fileno_to_outq[pool.fd] = SimpleNamespace(outqR_fd=pool.fd)
    for result in ("one", "two"):
        pool.write(_sent(result))
    assert pool.results == ["one", "two"]


def test_what_a_process_that_is_gone_has_written_is_read(pool: Pool) -> None:
    """A result in the pipe is completed before others are read; one that is cut off is not taken for another."""
    first = _sent("x" * 100)
    pool.write(first[:20])
    pool.process_flush_queues(pool.process)
    assert (pool.flushed, pool.results) == ([], [])
    os.write(pool._writer, first[20:])  # noqa: SLF001 - the event loop does not read
    pool.process_flush_queues(pool.process)
    assert (pool.flushed, pool.results) == ([pool.process], ["x" * 100])


def test_a_result_is_read_to_its_end_when_the_worker_stops(pool: Pool) -> None:
    """A result of which a part was read before a reset is completed at the end of the worker."""
    first = _sent("x" * 100)
    pool.write(first[:20])
    pool.reset()
    os.write(pool._writer, first[20:])  # noqa: SLF001 - the event loop does not read
    pool.process.outq = SimpleNamespace(_reader=SimpleNamespace(poll=lambda _: True))
    assert not pool.handler._finish_partial_read(pool.fd, pool.process)  # noqa: SLF001 - Celery's name
    assert pool.results == ["x" * 100]


def test_a_process_is_read_again_after_a_failed_callback(pool: Pool) -> None:
    """A callback that fails with an OSError makes Celery stop reading from the process, which is not at fault."""

    def fail(_result: object) -> None:
        raise ConnectionResetError

    scheduled: list[Any] = []
    pool.hub.call_repeatedly = lambda _seconds, callback, *args: scheduled.append((callback, args))
    pool.step.register_with_event_loop(None, pool.hub)
    pool.handler.on_state_change = fail
    pool.reset()
    pool.hub.add_reader(pool.fd, pool.handler.handle_event, pool.fd)
    pool.write(_sent("lost"))
    assert pool.fd not in pool.hub.readers
    ((callback, args),) = scheduled
    callback(*args)
    assert pool.fd in pool.hub.readers
