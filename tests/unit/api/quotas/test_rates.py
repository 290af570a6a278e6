"""The arithmetic of rates over sliding windows."""

from __future__ import annotations

from math import floor

import pytest

from gql_api.api.quotas.rates import Window, seconds_until

_LENGTH = 10


def _used(window: Window, seconds: float) -> int:
    """Return what counts some seconds later, by the rules of the library's sliding windows."""
    ends_in = window.current_seconds - _LENGTH
    if seconds < ends_in:
        earlier_seconds = max(0.0, window.earlier_seconds - seconds)
        return floor(window.earlier * earlier_seconds / _LENGTH) + window.current
    return floor(window.current * max(0.0, window.current_seconds - seconds) / _LENGTH)


@pytest.mark.parametrize(
    ("window", "cost"),
    [
        (Window(0, 0.0, 20, 19.5), 1),  # a burst has just taken all
        (Window(0, 0.0, 20, 19.5), 20),  # the same, for another one as large
        (Window(0, 0.0, 20, 11.0), 5),  # the window ends soon
        (Window(20, 9.0, 2, 19.0), 1),  # the earlier window still counts
        (Window(20, 9.0, 2, 19.0), 18),
        (Window(20, 4.0, 15, 14.0), 10),  # the current one counts too much alone
    ],
)
def test_a_refused_call_has_room_after_the_reported_seconds(window: Window, cost: int) -> None:
    """A call that waits so long has room, and one that waits a whole second less has none."""
    assert _used(window, 0) + cost > 20
    seconds = seconds_until(window, cost, 20, _LENGTH)
    assert _used(window, seconds) + cost <= 20
    assert seconds == 1 or _used(window, seconds - 1.001) + cost > 20
