"""The timeout of a soak."""

from __future__ import annotations

import pytest

_EXTRA_SECONDS = 240


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each soak the requested time, and some for its start and its end."""
    seconds = config.getoption("--soak-seconds") + _EXTRA_SECONDS
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.timeout(seconds))
