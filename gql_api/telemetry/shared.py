"""The figures of all processes of one server, added up: each keeps its own in files that all of them read."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

_folder: str | None = None
_process = "supervisor"


@contextlib.contextmanager
def shared_figures() -> Iterator[None]:
    """Add up the figures of the processes that are forked in the block.

    A metric finds out where its figures are when it is created: the block has to begin before
    :mod:`gql_api.telemetry.counters` is imported.
    """
    global _folder
    with tempfile.TemporaryDirectory(prefix="gql-api-metrics-") as _folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = _folder  # prometheus_client has no other way to set it
        # Files by the number of a process, not by its id: a replacement counts on from the figures of the dead one.
        values.ValueClass = values.MultiProcessValue(lambda: _process)  # type: ignore[no-untyped-call] # untyped
        yield


def enter(number: int) -> None:
    """Let this process keep its figures as the one with a number."""
    global _process  # noqa: PLW0603 - prometheus_client asks for it at each change of a figure
    _process = str(number)


def forget(number: int) -> None:
    """Drop the gauges of a process that has ended: its counters stay."""
    mark_process_dead(str(number))  # type: ignore[no-untyped-call] # untyped


def are_shared() -> bool:
    """Return whether other processes read the figures of this one."""
    return _folder is not None


def exposition(*others: Collector) -> bytes:
    """Return the figures in the format of Prometheus, and those of other collectors."""
    registry = REGISTRY
    if are_shared():
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # untyped
    more = CollectorRegistry()
    for other in others:
        more.register(other)
    return generate_latest(registry) + generate_latest(more)
