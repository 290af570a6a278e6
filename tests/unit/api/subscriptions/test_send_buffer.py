from __future__ import annotations

import json

import pytest

from gql_api.api.subscriptions.send_buffer import Ending, Policy, SendBuffer


class _Reader:
    """A reader that takes payloads only while it may, and records the buffers to flush."""

    def __init__(self, *, takes: bool) -> None:
        self.takes = takes
        self.taken: list[bytes] = []
        self.scheduled: list[SendBuffer] = []

    def offer(self, _buffer: SendBuffer, payload: bytes) -> bool:
        """Take a payload."""
        if self.takes:
            self.taken.append(payload)
        return self.takes

    def schedule_flush(self, buffer: SendBuffer) -> None:
        """Record a buffer."""
        self.scheduled.append(buffer)


def _buffer(policy: Policy) -> tuple[SendBuffer, list[SendBuffer]]:
    reader = _Reader(takes=False)
    return SendBuffer(policy, reader), reader.scheduled


@pytest.mark.parametrize("policy", Policy)
def test_what_is_taken_at_once_is_not_kept(policy: Policy) -> None:
    """A reader that is ready has each payload when it comes; one that was kept is before those that come behind it."""
    reader = _Reader(takes=True)
    buffer = SendBuffer(policy, reader)
    buffer.put(b"1")
    assert (reader.taken, reader.scheduled, buffer.take()[0]) == ([b"1"], [], [])
    reader.takes = False
    buffer.put(b"2")
    reader.takes = True
    buffer.put(b"3")
    assert reader.taken == [b"1"]
    assert buffer.take()[0] == ([b"3"] if policy is Policy.LATEST else [b"2", b"3"])
    buffer.put(b"4")
    assert reader.taken == [b"1", b"4"]


def test_the_latest_state_replaces_those_before_it() -> None:
    """Who is slow has one payload waiting, and it is the newest."""
    buffer, woken = _buffer(Policy.LATEST)
    for number in range(1000):
        buffer.put(b"%d" % number)
    assert buffer.take() == ([b"999"], None)
    assert buffer.take() == ([], None)
    assert woken


def test_events_that_count_are_kept_in_order_to_a_bound() -> None:
    """Past the bound the operation ends with a code that clients know; what was kept before is still told."""
    buffer, _ = _buffer(Policy.EVERY)
    payloads = [b"%d" % number + b"x" * 100_000 for number in range(20)]
    for payload in payloads:
        buffer.put(payload)
    kept, ending = buffer.take()
    assert kept == payloads[:10]
    assert ending is not None
    assert json.loads(ending.errors or b"")[0]["extensions"] == {"code": "SLOW_CONSUMER"}
    buffer.put(b"too late")
    assert buffer.take() == ([], ending)


def test_one_payload_larger_than_the_bound_passes() -> None:
    """The bound is for what waits: a single large event is told."""
    buffer, _ = _buffer(Policy.EVERY)
    payload = b"x" * 2_000_000
    buffer.put(payload)
    assert buffer.take() == ([payload], None)


def test_the_first_end_counts_and_comes_last() -> None:
    """What was left before the end is told before it."""
    buffer, woken = _buffer(Policy.LATEST)
    buffer.put(b"1")
    buffer.end(Ending())
    buffer.end(Ending(b"[]"))
    buffer.put(b"2")
    assert buffer.take() == ([b"1"], Ending())
    assert len(woken) == 2
