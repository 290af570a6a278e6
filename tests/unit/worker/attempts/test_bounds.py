"""The bounds of hard time limits that the settings give."""

from __future__ import annotations

import pytest

from gql_api.settings import Settings
from gql_api.worker.attempts.time_limits import Bounds


def _bounds(minimum: float, default: float, maximum: float) -> Bounds:
    bounds = Bounds()
    bounds.use(
        Settings(time_limit_min_seconds=minimum, time_limit_default_seconds=default, time_limit_max_seconds=maximum)
    )
    return bounds


@pytest.mark.parametrize(
    ("default", "maximum", "own", "expected"),
    [
        (0, 0, None, None),
        (0, 0, 0.5, 0.5),
        (60, 0, None, 60),
        (60, 0, 5, 5),
        (0, 30, None, 30),
        (60, 30, None, 30),
        (0, 30, 5, 5),
        (0, 30, 50, 30),
    ],
)
def test_a_function_has_its_own_limit_or_the_default(
    default: float, maximum: float, own: float | None, expected: float | None
) -> None:
    """The maximum holds for both, and for functions without a limit; the minimum is for messages."""
    assert _bounds(1, default, maximum).of_function(own) == expected


@pytest.mark.parametrize(("asked", "expected"), [(0.001, 2), (5, 5), (50, 30)])
def test_a_message_has_its_limit_within_the_bounds(asked: float, expected: float) -> None:
    """A shorter limit is raised to the minimum, and a longer one cut."""
    assert _bounds(2, 10, 30).of_message(asked) == expected
