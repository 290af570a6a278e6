"""How long a soak goes on, and how long it may take."""

from __future__ import annotations

import pytest

_AFTERWARDS_SECONDS = 240


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give soaks the time that was asked for, and some for their beginning and their end."""
    seconds = config.getoption("--soak-seconds") + _AFTERWARDS_SECONDS
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.timeout(seconds))
