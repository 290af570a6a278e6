from __future__ import annotations

import json

from gql_api.outbox import Ending, Outbox, Policy


def _outbox(policy: Policy) -> tuple[Outbox, list[Outbox]]:
    woken: list[Outbox] = []
    return Outbox(policy, woken.append), woken


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
