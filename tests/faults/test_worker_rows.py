"""The figures of `workers`, on real workers of all pools, two of which have one name."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from fault_site import Site
from support import Api, wait_until

pytestmark = pytest.mark.fault

_OFTEN = {"WORKER_HEARTBEAT_SECONDS": "0.3"}
_QUERY = "{ workers { hostname pool concurrency active } }"


def _rows(api: Api) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api.data(_QUERY)["workers"]
    return rows


def _concurrency(api: Api) -> list[tuple[str, str, int]]:
    return sorted((row["hostname"].split("@")[0], row["pool"], row["concurrency"]) for row in _rows(api))


def test_each_process_has_a_row_with_its_own_figures(site: Site) -> None:
    """Workers with one name, solo, autoscaling and resized ones have the concurrency and the tasks that they have."""
    api = site.api()
    site.worker("scaled", "-n", "twin@%h", "--autoscale=3,1", environment=_OFTEN)
    solo = site.worker("solo", "-n", "twin@%h", "-P", "solo", "-c", "2", environment=_OFTEN)
    site.worker("threads", "-P", "threads", "-c", "3", environment=_OFTEN)
    site.worker("gevent", "-P", "gevent", "-c", "4", environment=_OFTEN)
    site.worker("prefork", "-c", "1", environment=_OFTEN)
    rows = [("gevent", "gevent", 4), ("threads", "thread", 3), ("twin", "prefork", 3), ("twin", "solo", 1)]
    wait_until(lambda: _concurrency(api) == sorted([*rows, ("prefork", "prefork", 1)]))
    site.ask("control", "prefork", "pool_grow", "1")
    wait_until(lambda: _concurrency(api) == sorted([*rows, ("prefork", "prefork", 2)]))
    end = site.folder / "end"
    tasks = [site.send("report_then_hold", str(site.folder), str(end)) for _ in range(3 + 1 + 3 + 4 + 2)]

    def all_busy() -> list[dict[str, Any]] | None:
        rows = _rows(api)
        # The solo worker may have one of them waiting.
        is_busy = sum(row["active"] for row in rows) >= len(tasks) - 1 and all(row["active"] for row in rows)
        return rows if is_busy else None

    busy = wait_until(all_busy)
    assert busy is not None
    assert all(row["active"] <= row["concurrency"] for row in busy)
    end.touch()
    for task_id in tasks:
        site.finished(task_id)
    wait_until(lambda: sum(row["active"] for row in _rows(api)) == 0)
    solo.send(signal.SIGTERM)
    solo.wait()
    # A worker that stops waits two seconds for the thread that withdraws its row.
    wait_until(lambda: _concurrency(api) == sorted([*rows[:3], ("prefork", "prefork", 2)]))
