"""The counters and gauges of the process, under their Prometheus names.

``multiprocess_mode`` tells what a gauge is for several processes of one server: see :mod:`gql_api.telemetry.shared`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class Tally(Collector):
    """A counter without a lock, for events that happen thousands of times a second, on the event loop only.

    Args:
        name: the name without the ``_total`` that Prometheus adds.
        help_: the description.
    """

    def __init__(self, name: str, help_: str) -> None:
        self.count = 0
        self._name = name
        self._help = help_
        self._shared: Counter | None = None
        self._shared_count = 0
        REGISTRY.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the count, for Prometheus."""
        yield CounterMetricFamily(self._name, self._help, value=self.count)

    def share(self) -> None:
        """Let the other processes of the server read what was counted since the last call."""
        self._shared = self._shared or Counter(self._name, self._help, registry=None)
        self._shared.inc(self.count - self._shared_count)
        self._shared_count = self.count


REQUESTS: Final = Counter("gql_api_http_requests", "HTTP requests answered.", ["method", "path", "status"])
REQUEST_SECONDS: Final = Histogram("gql_api_http_request_seconds", "Time until an answer began.", ["path"])
TASKS_CREATED: Final = Counter("gql_api_tasks_created", "Tasks created by this process.")
EVENTS: Final = Tally("gql_api_events", "Events received for tasks and lists that a client watches.")
REFUSED_EVENTS: Final = Counter(
    "gql_api_events_refused", "Messages on the channels of events that were none. Stays 0 in health."
)
DELIVERIES: Final = Tally("gql_api_deliveries", "Results of shared executions handed to subscribers.")
MERGED: Final = Tally("gql_api_merged", "Deliveries that a newer one replaced before they were sent.")
LIMITS_EXCEEDED: Final = Counter(
    "gql_api_limits_exceeded", "Requests, frames and connections refused because of a limit.", ["limit"]
)
AUTHENTICATION_FAILURES: Final = Counter(
    "gql_api_authentication_failures", "Requests and sockets without a valid token, by reason.", ["reason"]
)
REFUSED_OPERATIONS: Final = Counter(
    "gql_api_refused_operations", "Operations refused because their caller lacks a scope.", ["scope"]
)
AUDIT_FAILURES: Final = Counter(
    "gql_api_audit_failures", "Entries of the audit log that could not be stored. Stays 0 in health."
)
MESSAGES_REJECTED: Final = Counter("gql_api_messages_rejected", "Messages that this worker could not handle.")
OWNERS_REFUSED: Final = Counter(
    "gql_api_owners_refused", "Messages that this worker set aside because their owner was not signed for them."
)
MISFITS: Final = Counter(
    "gql_api_records_that_do_not_fit", "Records found that do not fit, each counted once. Stays 0 in health."
)
SLOW_CONSUMERS: Final = Counter("gql_api_slow_consumers", "Subscriptions ended because their client fell behind.")
BACKSTOP_FOUND: Final = Counter(
    "gql_api_backstop_found", "Changes found in MongoDB without an event. Stays 0 in health."
)
EXECUTION_FALLBACKS: Final = Counter(
    "gql_api_execution_fallbacks", "Compiled plans that gave up, so that graphql-core executed instead.", ["reason"]
)
SOCKETS: Final = Gauge("gql_api_sockets", "Open WebSockets.", multiprocess_mode="livesum")
SUBSCRIPTIONS: Final = Gauge(
    "gql_api_subscriptions", "Operations being streamed, over any protocol.", multiprocess_mode="livesum"
)
EXECUTIONS: Final = Gauge("gql_api_executions", "Running shared executions.", multiprocess_mode="livesum")
WATCHED: Final = Gauge(
    "gql_api_watched_tasks", "Tasks whose channel is subscribed for watchers.", multiprocess_mode="livesum"
)
UNREAD: Final = Gauge(
    "gql_api_unread_bytes", "What the process keeps for clients that read too slowly.", multiprocess_mode="livesum"
)
WATCHED_CONDITIONS: Final = Gauge(
    "gql_api_watched_conditions",
    "Conditions of the filters of live lists.",
    multiprocess_mode="livesum",
)
LOOP_BLOCKS: Final = Histogram(
    "gql_api_event_loop_block_seconds",
    "Times for which something blocked the event loop, above the threshold.",
    buckets=(0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
LOOP_LONGEST_BLOCK: Final = Gauge(
    "gql_api_event_loop_longest_block_seconds", "The longest of these times.", multiprocess_mode="livemax"
)
_longest_block = 0.0


def longest_block(seconds: float) -> None:
    """Set the gauge of the longest block, if this one is longer."""
    global _longest_block  # noqa: PLW0603 - a gauge shows no value to compare with
    if seconds > _longest_block:
        _longest_block = seconds
        LOOP_LONGEST_BLOCK.set(seconds)


def share_tallies() -> None:
    """Let the other processes of the server read the tallies."""
    for tally in (EVENTS, DELIVERIES, MERGED):
        tally.share()
