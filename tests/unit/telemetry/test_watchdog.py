"""Blocks of the event loop are reported with the operation that caused them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time

import pytest
from prometheus_client import REGISTRY
from support import wait_until, wait_until_async

from gql_api.api.execution.documents import DocumentReader
from gql_api.api.schema.build import schema
from gql_api.limits import LimitSettings
from gql_api.telemetry.watchdog import Watchdog, label_task


def _sample(name: str) -> float:
    return REGISTRY.get_sample_value(f"gql_api_event_loop_{name}") or 0.0


async def test_a_block_is_reported_with_its_operation(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the operation, the histogram counts the block, and the gauge has the longest one."""
    caplog.set_level(logging.WARNING, "gql_api.telemetry.watchdog")
    before = _sample("block_seconds_count")

    async def block() -> None:
        label_task("ListEverything")
        watchdog._cause = ""  # noqa: SLF001 - a loaded machine may have blocked the loop before
        time.sleep(0.5)  # noqa: ASYNC251 - the block
        # Its thread may not have had the time to look yet.
        wait_until(lambda: watchdog._cause)  # noqa: SLF001 - as above

    async with Watchdog(0.1) as watchdog:
        await asyncio.create_task(block())

        async def is_reported() -> bool:
            return "the operation 'ListEverything'" in caplog.text

        await wait_until_async(is_reported)
    assert _sample("block_seconds_count") > before
    assert _sample("longest_block_seconds") >= 0.4


async def test_the_line_of_our_code_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A block by no operation has its place in the code."""
    caplog.set_level(logging.WARNING, "gql_api.telemetry.watchdog")
    query = "{ tasks { nodes { " + "parent { id } " * 1000 + "} } }"
    reader = DocumentReader(
        LimitSettings(document_max_tokens=100_000, document_max_fields=10_000, document_max_pairs=10**6)
    )
    # The watchdog looks once: on a slow machine the document is still being parsed, on a fast one it is validated.
    report = re.compile(r"a callback, in \w+ \(api/(execution/documents|admission/\w+)\.py, line \d+\)")
    numbers = itertools.count()

    async def is_reported() -> bool:
        if report.search(caplog.text):
            return True
        # A loaded machine may have blocked the loop before the document did: then this is another block, by a document
        # that is not known yet.
        reader.read(schema._schema, f"{query} # {next(numbers)}")  # noqa: SLF001 - that which operations run on
        return False

    async with Watchdog(0.1):
        await wait_until_async(is_reported)


async def test_a_loop_that_is_not_blocked_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Waiting is no block."""
    async with Watchdog(5.0):
        await asyncio.sleep(0.3)
    assert caplog.messages == []
