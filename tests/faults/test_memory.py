"""The memory of a worker under attempts that end with an exception."""

from __future__ import annotations

import pytest
from fault_site import Site

pytestmark = pytest.mark.fault

_ATTEMPTS = 20
# Python frees at once what is in no cycle. The frames of one attempt are thousands of objects; a retry and a greenlet
# leave cycles of a few.
_MAX_OBJECTS = 500


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_retries_leave_no_frames_behind(site: Site, pool: str) -> None:
    """An attempt that ends with a retry frees its frames, and the copies of its traceback, at once."""
    site.worker("worker", "-P", pool, "-c", "1")
    site.finished(site.send("retry_after_error", 2))
    site.finished(site.send("collect_garbage"))
    retried = site.finished(site.send("retry_after_error", _ATTEMPTS), 60)
    left = site.finished(site.send("collect_garbage")).result
    assert retried.result == _ATTEMPTS
    assert left < _ATTEMPTS * _MAX_OBJECTS


def test_failures_leave_no_frames_behind(site: Site) -> None:
    """The same holds for attempts that fail, and for those that end without an outcome."""
    site.worker("worker", "-c", "1")
    for error in ("ValueError", "Ignore", "Reject"):
        site.finished(site.send("collect_garbage"))
        for _ in range(_ATTEMPTS):
            site.send("fail", error)
        # One process runs all tasks, in their order.
        left = site.finished(site.send("collect_garbage"), 60).result
        assert left < _ATTEMPTS * _MAX_OBJECTS, error
