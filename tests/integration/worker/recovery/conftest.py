"""The recovery of one worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from recovery_bench import Bench, recovery_bench

from gql_api.settings import Settings


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    """Start with an empty queue."""
    with recovery_bench(settings) as bench:
        yield bench
