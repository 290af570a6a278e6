"""The timeout of a chaos run."""

from __future__ import annotations

import pytest

_EXTRA_SECONDS = 420
_FAULT_SECONDS = 8


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each run time for its faults, and some for its start and its end."""
    seconds = config.getoption("--chaos-faults") * _FAULT_SECONDS + _EXTRA_SECONDS
    for item in items:
        if item.get_closest_marker("chaos"):
            item.add_marker(pytest.mark.timeout(seconds))
