"""Memory that processes share."""

from __future__ import annotations

import multiprocessing

import pytest

from gql_api.worker.state.shared_memory import ProcessSlots


def test_a_child_reads_what_its_parent_writes() -> None:
    """Each of two processes reads what the other writes after the fork, each slot by itself."""
    slots = ProcessSlots(4)
    fork = multiprocessing.get_context("fork")
    written = fork.Event()

    def answer() -> None:
        written.wait(20)
        slots.write(2, slots.read(1)[::-1])

    child = fork.Process(target=answer)
    child.start()
    slots.write(1, b"abcd")
    written.set()
    child.join(20)
    assert [slots.read(pid) for pid in (0, 1, 2, 3)] == [bytes(4), b"abcd", b"dcba", bytes(4)]


def test_a_slot_takes_exactly_its_size() -> None:
    """Other content would reach into the next slot, or leave a rest of the old."""
    slots = ProcessSlots(4)
    for content in (b"", b"abc", b"abcde"):
        with pytest.raises(ValueError, match="exactly 4 bytes"):
            slots.write((1 << 22) - 1, content)
    slots.write((1 << 22) - 1, b"last")
    assert slots.read((1 << 22) - 1) == b"last"
