from __future__ import annotations

import json

import pytest

from gql_api.api.subscriptions.send_buffer import Ending, Policy, SendBuffer


class _Reader:
    """Takes what it is offered when it may, and hears what is kept for it."""

    def __init__(self, *, takes: bool) -> None:
        self.takes = takes
        self.taken: list[bytes] = []
        self.marked: list[SendBuffer] = []

    def offer(self, _outbox: SendBuffer, payload: bytes) -> bool:
        """Take a payload."""
        if self.takes:
            self.taken.append(payload)
        return self.takes

    def mark(self, outbox: SendBuffer) -> None:
        """Hear of an outbox."""
        self.marked.append(outbox)


def _outbox(policy: Policy) -> tuple[SendBuffer, list[SendBuffer]]:
    reader = _Reader(takes=False)
    return SendBuffer(policy, reader), reader.marked


@pytest.mark.parametrize("policy", Policy)
def test_what_is_taken_at_once_is_not_kept(policy: Policy) -> None:
    """A reader that is ready has each payload when it comes; one that was kept is before those that come behind it."""
    reader = _Reader(takes=True)
    outbox = SendBuffer(policy, reader)
    outbox.put(b"1")
    assert (reader.taken, reader.marked, outbox.take()[0]) == ([b"1"], [], [])
    reader.takes = False
    outbox.put(b"2")
    reader.takes = True
    outbox.put(b"3")
    assert reader.taken == [b"1"]
    assert outbox.take()[0] == ([b"3"] if policy is Policy.LATEST else [b"2", b"3"])
    outbox.put(b"4")
    assert reader.taken == [b"1", b"4"]


def test_the_latest_state_replaces_those_before_it() -> None:
    """Who is slow has one payload waiting, and it is the newest."""
    outbox, woken = _outbox(Policy.LATEST)
    for number in range(1000):
        outbox.put(b"%d" % number)
    assert outbox.take() == ([b"999"], None)
    assert outbox.take() == ([], None)
    assert woken


def test_events_that_count_are_kept_in_order_to_a_bound() -> None:
    """Past the bound the operation ends with a code that clients know; what was kept before is still told."""
    outbox, _ = _outbox(Policy.EVERY)
    payloads = [b"%d" % number + b"x" * 100_000 for number in range(20)]
    for payload in payloads:
        outbox.put(payload)
    kept, ending = outbox.take()
    assert kept == payloads[:10]
    assert ending is not None
    assert json.loads(ending.errors or b"")[0]["extensions"] == {"code": "SLOW_CONSUMER"}
    outbox.put(b"too late")
    assert outbox.take() == ([], ending)


def test_one_payload_larger_than_the_bound_passes() -> None:
    """The bound is for what waits: a single large event is told."""
    outbox, _ = _outbox(Policy.EVERY)
    payload = b"x" * 2_000_000
    outbox.put(payload)
    assert outbox.take() == ([payload], None)


def test_the_first_end_counts_and_comes_last() -> None:
    """What was left before the end is told before it."""
    outbox, woken = _outbox(Policy.LATEST)
    outbox.put(b"1")
    outbox.end(Ending())
    outbox.end(Ending(b"[]"))
    outbox.put(b"2")
    assert outbox.take() == ([b"1"], Ending())
    assert len(woken) == 2
