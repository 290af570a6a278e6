from __future__ import annotations

from unittest.mock import Mock

from gql_api.worker.recovery.recovery import Recoverer


class _Waits:
    """An event that is set at the end of some waits, none of which takes time."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> bool:
        """Note a wait, and return whether it was the last one."""
        self.seconds.append(seconds)
        return len(self.seconds) == self._number


def test_a_scan_that_has_more_to_do_is_followed_at_once() -> None:
    """The thread waits for the interval only after a scan that has done everything, or has failed."""
    recoverer, waits = Recoverer(Mock()), _Waits(6)
    recoverer._stopping = waits  # type: ignore[assignment] # noqa: SLF001 - as no time should pass
    scan = Mock(side_effect=[True, True, None, OSError("the broker is away"), True])
    recoverer._repeat(scan, 10.0)  # noqa: SLF001 - the thread's function
    assert [seconds > 0 for seconds in waits.seconds] == [True, False, False, True, True, False]
