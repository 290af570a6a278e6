"""What HTTP requests are counted by."""

from __future__ import annotations

from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette

from gql_api.telemetry.counters import REQUESTS
from gql_api.telemetry.middleware import CountRequests


async def test_a_method_of_a_clients_own_is_no_series_of_its_own() -> None:
    """Series stay for ever, so that what a client chooses freely is counted together."""
    transport = ASGITransport(CountRequests(Starlette()))
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        for method in ("MADE", "UP", "GET"):
            await client.request(method, "/")
    labels = {sample.labels["method"] for metric in REQUESTS.collect() for sample in metric.samples}
    assert labels >= {"GET", "other"}
    assert labels.isdisjoint({"MADE", "UP"})
