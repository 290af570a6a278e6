from __future__ import annotations

import itertools
import threading
import time

import pytest
from support import wait_until

from gql_api.record.model import Progress
from gql_api.worker.backend.reports.progress_writer import ProgressWriter, Report
from gql_api.worker.backend.translation import progress_from, progress_meta


class Written:
    """Collects what the writer writes."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, float | None, float]] = []
        self.announced: list[int] = []
        self.may_write = threading.Event()
        self.may_write.set()

    def __call__(self, report: Report) -> int:
        """Take one report, and return its revision."""
        self.may_write.wait(10)
        self.announced.append(report.announced)
        self.reports.append((report.task_id, report.progress.current, time.monotonic()))
        return 100 + len(self.reports)

    def of(self, task_id: str) -> list[float | None]:
        """Return the values that were written for one task."""
        return [current for id_, current, _ in self.reports if id_ == task_id]


def test_fast_reports_are_thinned_out_and_the_last_one_is_written() -> None:
    """A thousand reports become a few writes, an interval apart, and the last of them is the last report."""
    written = Written()
    dues: list[float] = []

    def write(report: Report) -> int:
        # Between the writer's look at the clock and that of the test, the thread may be stopped for any time.
        dues.append(writer._tasks["t"].due)  # noqa: SLF001 - the time before which it writes nothing more
        return written(report)

    writer = ProgressWriter(write, interval=0.1)
    for current in range(1000):
        writer.report("t", Progress(float(current)))
    wait_until(lambda: written.of("t")[-1:] == [999.0])
    assert all(at >= due for due, (_, _, at) in zip(dues, written.reports[1:], strict=False))
    assert all(later - earlier > 0.099 for earlier, later in itertools.pairwise(dues))


def test_tasks_do_not_wait_for_each_other() -> None:
    """The interval is each task's own."""
    written = Written()
    writer = ProgressWriter(written, interval=30)
    for task_id in ("a", "b", "c"):
        writer.report(task_id, Progress(1.0))
    wait_until(lambda: len(written.reports) == 3)
    assert sorted(task_id for task_id, _, _ in written.reports) == ["a", "b", "c"]


def test_the_end_of_an_attempt_takes_the_latest_report_along() -> None:
    """A report still waiting, or one that is just being written, goes with the end of its attempt."""
    written = Written()
    written.may_write.clear()
    writer = ProgressWriter(written, interval=30)
    writer.report("t", Progress(1.0))
    writer.report("t", Progress(2.0))
    assert writer.take("t") == (Progress(2.0), 0)
    assert writer.take("t") == (None, 0)
    written.may_write.set()


def test_what_follows_a_report_knows_the_revision_that_it_announced() -> None:
    """The next report and the end of the attempt get the revision of the last write: MongoDB may lose that."""
    written = Written()
    writer = ProgressWriter(written, interval=0.0)
    writer.report("t", Progress(1.0))
    wait_until(lambda: writer.announced("t") == 101)
    writer.report("t", Progress(2.0))
    wait_until(lambda: writer.announced("t") == 102)
    assert written.announced == [0, 101]
    assert writer.take("t") == (Progress(2.0), 102)
    assert writer.announced("t") == 0


def test_a_report_never_waits_for_the_store() -> None:
    """While MongoDB is away a task function goes on."""
    written = Written()
    written.may_write.clear()
    writer = ProgressWriter(written, interval=0.0)
    started = time.monotonic()
    for current in range(100):
        writer.report("t", Progress(float(current)))
    assert time.monotonic() - started < 5
    written.may_write.set()
    wait_until(lambda: written.of("t")[-1:] == [99.0])


@pytest.mark.parametrize(
    "meta",
    [
        {"current": 1.0, "total": 4.0, "message": "x"},
        {"current": 1.0, "step": {"a": [1]}},
        {"current": "many", "total": True, "message": 7},
        {},
        [1, 2],
        "half",
    ],
)
def test_nothing_of_celerys_idiom_is_lost(meta: object) -> None:
    """The meta given to update_state reads back from AsyncResult.info, with known fields and unknown ones."""
    progress = progress_from(meta, lambda value: value)
    assert progress_meta(progress) == meta


@pytest.mark.parametrize(
    ("current", "total", "percent"),
    [(1, 4, 25.0), (5, 4, 100.0), (-1, 4, 0.0), (1, 0, None), (1, None, None), (1, -4, None), (None, 4, None)],
)
def test_percent(current: float | None, total: float | None, percent: float | None) -> None:
    """Percent has a value only where it has a meaning, and stays within 0 to 100."""
    assert Progress(current, total).percent == percent
