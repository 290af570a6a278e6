"""The result backend of stock processes, when it is away."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from celery import Celery
from celery.app.task import Context

from gql_api.worker.backend.stock import StockBackend


@pytest.fixture(params=["redis://{}/0", "mongodb://{}/results"])
def stock(request: pytest.FixtureRequest) -> Iterator[StockBackend]:
    """A backend whose server accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server, Celery("stock-tests", set_as_current=False) as app:
        host, port = server.getsockname()
        yield StockBackend(app, request.param.format(f"{host}:{port}"))


def test_no_task_waits_for_it_for_long(stock: StockBackend, caplog: pytest.LogCaptureFixture) -> None:
    """The end of a task, and of a member of a chord, goes on within seconds, with no more than a line of log."""
    began = time.monotonic()
    stock.store("t", 1, "SUCCESS", None, None)
    assert time.monotonic() - began < 10
    chord = {"task": "t", "args": [], "kwargs": {}, "options": {"chord_size": 2}, "chord_size": 2}
    stock.finish_chord_part(Context(id="t", group="g", chord=chord, group_index=0), "SUCCESS", 1)
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("backend.stock")]
    assert lines[0] == "The result of task t is recorded, but not in STOCK_RESULT_BACKEND"
    # Celery's MongoDB backend does not count.
    assert lines[1:] in ([], ["Task t is not counted in its chord in STOCK_RESULT_BACKEND"])
