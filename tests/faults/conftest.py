"""Each test gets a site of its own to break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_site import Site, open_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with one MongoDB server."""
    with open_site(tmp_path, members=1) as site:
        yield site


@pytest.fixture
def replicated_site(tmp_path: Path) -> Iterator[Site]:
    """A site with three MongoDB servers in a replica set: it lives on when one of them is lost."""
    with open_site(tmp_path, members=3) as site:
        yield site
