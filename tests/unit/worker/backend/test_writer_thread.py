from __future__ import annotations

import multiprocessing
import threading
from typing import Any

import pytest
from support import wait_until

from gql_api.worker.backend.reports import writer_thread
from gql_api.worker.backend.reports.writer_thread import WriterThread


class Collection:
    """Values that a writer thread of their own appends to ``written``."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.written: list[int] = []
        self.thread = WriterThread("collection", lambda: 0.0 if self.waiting else None, self._write, self._clear)

    def add(self, value: int) -> None:
        """Let the thread write a value."""
        with self.thread.lock:
            self.waiting.append(value)
            self.thread.wake()

    def _write(self) -> None:
        with self.thread.lock:
            self.written += self.waiting
            self.waiting = []

    def _clear(self) -> None:
        self.waiting = []


def test_an_idle_thread_ends_and_the_next_value_starts_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has nothing to write for a while has no thread for it."""
    monkeypatch.setattr(writer_thread, "_IDLE_SECONDS", 0.01)
    collection = Collection()
    for value in (1, 2):
        collection.add(value)
        wait_until(lambda: not collection.thread.is_running)
    assert collection.written == [1, 2]


def _child(collection: Collection, pipe: Any) -> None:
    inherited = list(collection.waiting)
    collection.add(3)
    wait_until(lambda: collection.written == [3])
    pipe.send(inherited)


@pytest.mark.filterwarnings("default:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_starts_afresh() -> None:
    """A child has neither the values of its parent nor its thread, and does not wait for a lock that nobody holds."""
    collection = Collection()
    locked, may_unlock = threading.Event(), threading.Event()

    def hold_the_lock() -> None:
        with collection.thread.lock:
            collection.waiting.append(1)
            locked.set()
            may_unlock.wait(60)

    holder = threading.Thread(target=hold_the_lock)
    holder.start()
    locked.wait(60)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_child, args=(collection, sender))
    child.start()
    try:
        assert receiver.poll(30)
        assert receiver.recv() == []
    finally:
        may_unlock.set()
        holder.join()
        child.join(30)
    assert child.exitcode == 0
