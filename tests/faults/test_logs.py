"""A task's log while workers and servers fail."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from fault_site import Site
from log_lines import log_of
from support import wait_until

pytestmark = pytest.mark.fault


def _messages(site: Site, task_id: str) -> list[str]:
    database = site.store._connections.database()  # noqa: SLF001 - the API's side is not needed here
    return [line.message for line in log_of(database, task_id)]


def _lines(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that lets a task log: a line for each byte."""
    file = tmp_path / "lines"
    file.write_bytes(b"..")
    return file


def test_both_attempts_of_a_killed_worker_are_in_the_log(site: Site, file: Path) -> None:
    """The lines from before the kill stay, and those of the next attempt come after them."""
    first = site.worker("first")
    task_id = site.send("log_lines", str(file), 4)
    wait_until(lambda: _messages(site, task_id) == _lines(2))
    first.kill()
    site.worker("second")
    wait_until(lambda: _messages(site, task_id) == _lines(2) + _lines(2), 30)
    file.write_bytes(b"....")
    assert site.finished(task_id).attempts == 2
    assert _messages(site, task_id) == _lines(2) + _lines(4)


def test_a_frozen_worker_adds_nothing_to_the_log(site: Site, file: Path) -> None:
    """A lost attempt's lines are dropped, though the task still runs elsewhere."""
    frozen = site.worker("frozen")
    task_id = site.send("log_lines", str(file), 4)
    wait_until(lambda: _messages(site, task_id) == _lines(2))
    frozen.signal_all(signal.SIGSTOP)
    site.worker("awake")
    wait_until(lambda: _messages(site, task_id) == _lines(2) + _lines(2), 30)
    frozen.signal_all(signal.SIGCONT)
    file.write_bytes(b"....")
    site.finished(task_id)
    wait_until(lambda: site.runs("end")[task_id] == 2)
    wait_until(lambda: b"not this attempt's any more" in frozen.log.read_bytes())
    assert _messages(site, task_id) == _lines(2) + _lines(4)


def test_lines_wait_while_mongodb_is_away(site: Site, file: Path) -> None:
    """An outage costs no line, and when the task is final all of them are there."""
    site.worker("worker")
    task_id = site.send("log_lines", str(file), 50)
    wait_until(lambda: _messages(site, task_id) == _lines(2))
    site.mongodb.kill()
    file.write_bytes(b"." * 50)
    wait_until(lambda: site.runs("end")[task_id] == 1)
    site.mongodb.start()
    assert site.finished(task_id, 60).attempts == 1
    assert _messages(site, task_id) == _lines(50)


def test_lines_are_stored_while_redis_is_away(site: Site, file: Path) -> None:
    """A log does not need events."""
    site.worker("worker")
    task_id = site.send("log_lines", str(file), 20)
    wait_until(lambda: _messages(site, task_id) == _lines(2))
    site.redis.kill()
    file.write_bytes(b"." * 20)
    assert site.finished(task_id).attempts == 1
    assert _messages(site, task_id) == _lines(20)


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_tasks_that_share_a_process_have_their_own_logs(site: Site, file: Path, pool: str) -> None:
    """In every pool a line goes to the log of the task that logged it."""
    file.write_bytes(b"." * 100)
    site.worker("worker", "-P", pool, "-c", "4")
    tasks = [site.send("log_lines", str(file), 20 + number) for number in range(8)]
    for number, task_id in enumerate(tasks):
        site.finished(task_id)
        assert _messages(site, task_id) == _lines(20 + number)
