"""Time limits on pools that can enforce them and on pools that cannot."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from fault_site import Site
from support import CREATE, Api, wait_until

from gql_api.dispatch import time_limited
from gql_api.record.fields import Status

pytestmark = pytest.mark.fault

_OFTEN = {"WORKER_HEARTBEAT_SECONDS": "0.3"}


def _create(api: Api, site: Site, queue: str | None) -> dict[str, Any]:
    files = [str(site.folder), str(site.folder / "never")]
    task = {"name": "fault_tasks.report_then_hold", "args": files, "timeLimitSeconds": 1, "queue": queue}
    payload: dict[str, Any] = api.data(CREATE, input=task)["createTask"]
    return payload


def test_a_limit_that_no_pool_would_enforce_is_refused(site: Site) -> None:
    """``timeLimitSeconds`` ends the function on prefork and gevent, and is refused for the queues of other pools."""
    api = site.api()
    workers = {
        pool: site.worker(pool, "-P", pool, "-Q", "celery" if pool == "prefork" else pool, environment=_OFTEN)
        for pool in ("prefork", "gevent", "threads", "solo")
    }
    wait_until(lambda: len(api.data("{ workers { hostname } }")["workers"]) == len(workers))
    accepted = [_create(api, site, queue) for queue in ("celery", "gevent")]
    for pool in ("threads", "solo"):
        [error] = _create(api, site, pool)["userErrors"]
        assert error["field"] == ["input", "timeLimitSeconds"]
        assert f"queue '{pool}' has the pool {pool.removesuffix('s')}" in error["message"]
    for payload in accepted:
        assert payload["userErrors"] == []
        ended = site.finished(payload["task"]["id"])
        assert ended.error is not None
        assert (ended.status, ended.error.type, ended.attempts) == (Status.FAILURE, "TimeLimitExceeded", 1)
    # Without a worker nothing is known of the pool that will run the task.
    workers["prefork"].send(signal.SIGTERM)
    workers["prefork"].wait()
    wait_until(lambda: not _create(api, site, None)["userErrors"])


@pytest.mark.parametrize(("pool", "ignored"), [("prefork", set()), ("gevent", {"soft"}), ("threads", {"soft", "hard"})])
def test_a_worker_names_the_limits_that_it_ignores(site: Site, pool: str, ignored: set[str]) -> None:
    """The log has one line about functions with limits that the pool does not enforce, and one about messages."""
    worker = site.worker(pool, "-P", pool)
    log = worker.log.read_text()
    lines = [line for line in log.splitlines() if "does not enforce the time limits of" in line]
    assert len(lines) == bool(ignored)
    assert ("hard" in ignored) == any("fault_tasks.runaway" in line for line in lines)
    assert ("soft" in ignored) == any("fault_tasks.return_before_soft_limit" in line for line in lines)
    for _ in range(2):
        site.finished(site.send("work", 0.0, message=time_limited(60.0)))
    assert worker.log.read_text().count("does not enforce the time limit that a task") == ("hard" in ignored)
