"""Reports of a task function that nobody can use: they never decide what becomes of their task."""

from __future__ import annotations

import pytest
from support import Api


@pytest.mark.parametrize(
    ("last", "expected"), [("numbers", (3.0, 4.5, None)), ("partly", (3.0, None, None)), ("large", None)]
)
def test_no_report_fails_its_task(api: Api, last: str, expected: tuple[float | None, ...] | None) -> None:
    """Text becomes a number where it is one, and whatever cannot be stored is left out."""
    task = api.finished(api.create("task_modules.reports_nonsense", args=[last]))
    assert (task["status"], task["result"], task["attempts"]) == ("SUCCESS", "done", 1), task["error"]
    if expected is not None:
        progress = task["progress"]
        assert (progress["current"], progress["total"], progress["message"]) == expected


def test_what_is_wrong_is_logged_once(api: Api) -> None:
    """The worker's log names the task function and the argument, not once for each report."""
    api.finished(api.create("task_modules.reports_nonsense", args=["numbers"]))
    wrong = "Reports of the task function task_modules.reports_nonsense: "
    lines = [line for line in api.worker_log.read_text().splitlines() if wrong in line]
    fields = sorted(line.partition(wrong)[2].partition(":")[0] for line in lines)
    # Each of the processes may log it.
    assert set(fields) == {"current", "total", "message", "meta", "level"}
    assert len(fields) <= 4 * 5
