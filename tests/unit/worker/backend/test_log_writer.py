from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from celery import Celery, signals
from celery.utils.log import task_logger
from support import wait_until

from gql_api import events
from gql_api.events import EventError
from gql_api.record import logs
from gql_api.record.logs import Entry, Limits, LogBatch, LogLevel, LogLine, Reservation
from gql_api.worker.app.log_handler import attach
from gql_api.worker.app.task import Task
from gql_api.worker.backend.reports.log_writer import LogWriter

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def _entries(*texts: str) -> list[Entry]:
    return [Entry.of(20, text, 0.0) for text in texts]


@pytest.mark.parametrize(
    ("number", "level"),
    [(0, "DEBUG"), (10, "DEBUG"), (19, "DEBUG"), (20, "INFO"), (25, "INFO"), (30, "WARNING"), (50, "ERROR")],
)  # fmt: skip
def test_levels_between_ours_count_as_the_lower_one(number: int, level: str) -> None:
    """Any number of `logging` has a level; CRITICAL is an ERROR."""
    assert LogLevel.of(number).name == level


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain", "plain"),
        ("nul \0", "nul \0"),
        ("lone \ud800", "lone \\ud800"),
        ("x" * 8192, "x" * 8192),
        ("x" * 8193, "x" * 8189 + "…"),
        ("ü" * 4096, "ü" * 4096),
        ("ü" * 4097, "ü" * 4094 + "…"),
        ("\ud800" * 8000, ("\\ud800" * 2000)[:8189] + "…"),
    ],
    ids=lambda value: value[:8],
)
def test_a_message_can_be_stored(text: str, kept: str) -> None:
    """Whatever was logged becomes UTF-8 of at most 8 KiB, with an ellipsis where it was cut."""
    entry = Entry.of(20, text, 0.0)
    assert entry.message == kept
    assert entry.size == len(kept.encode()) <= logs.MESSAGE_BYTES


@pytest.mark.parametrize(
    ("before", "texts", "positions", "note", "full"),
    [
        (Reservation(0, 0, NOW), ["a", "b"], [1, 2], None, False),
        (Reservation(7, 7, NOW), ["a", "b", "c"], [8, 9, 10], None, False),
        (Reservation(8, 8, NOW), ["a", "b", "c"], [9, 10], 11, True),
        (Reservation(10, 10, NOW), ["a"], [], 11, True),
        (Reservation(11, 11, NOW), ["a"], [], None, True),
        (Reservation(0, 0, NOW), ["x" * 99, "y", "z"], [1, 2], 3, True),
        (Reservation(1, 100, NOW), ["a"], [], 2, True),
        (Reservation(3, 101, NOW), ["a"], [], None, True),
        (Reservation(1, 50, NOW), ["x" * 51, "y"], [], 2, True),
    ],
)
def test_a_full_log_says_so_once(
    before: Reservation, texts: list[str], positions: list[int], note: int | None, full: bool
) -> None:
    """Lines are kept up to both limits, in their order; the first that is left out gives way to a note."""
    entries, limits = _entries(*texts), Limits(10, 100)
    lines = logs.lines_of(entries, before, limits, 0.0)
    assert [line.position for line in lines] == positions + ([] if note is None else [note])
    assert [line.message for line in lines][: len(positions)] == texts[: len(positions)]
    if note is not None:
        assert lines[-1].level is LogLevel.WARNING
        assert "The rest was left out" in lines[-1].message
    assert logs.is_full(entries, before, limits) is full


def test_times_are_the_databases() -> None:
    """A line has the time of the database when its room was made, less the time that it had waited."""
    entries = [Entry.of(20, "early", 10.0), Entry.of(20, "late", 12.5)]
    lines = logs.lines_of(entries, Reservation(0, 0, NOW), Limits(10, 100), 13.0)
    assert [NOW - line.at for line in lines] == [timedelta(seconds=3), timedelta(seconds=0.5)]


def _lines(count: int, size: int) -> tuple[LogLine, ...]:
    return tuple(LogLine(n, NOW, LogLevel.ERROR, "m" * size) for n in range(1, count + 1))


def test_an_event_carries_its_lines() -> None:
    """An event holds all that a watcher needs, without a read."""
    batch = LogBatch(1, 7, _lines(3, 10))
    assert events.decode_log(events.encode_log(batch)) == batch


def test_a_large_event_says_only_that_there_are_lines() -> None:
    """Lines of more than 32 KiB stay in MongoDB."""
    payload = events.encode_log(LogBatch(1, 5, _lines(5, 8000)))
    assert len(payload) < 100
    assert events.decode_log(payload) == LogBatch(1, 5, None)


@pytest.mark.parametrize(
    "payload",
    [b"", b"1", b"\x05\x00\x00\x00\x00", b"\xff" * 40, events.encode_log(LogBatch(1, 1))[:-2]],
)
def test_a_foreign_payload_is_refused(payload: bytes) -> None:
    """Anything may be published to a channel; only an event can be decoded."""
    with pytest.raises(EventError):
        events.decode_log(payload)


def test_channels_are_apart() -> None:
    """A task's changes and its log have channels of their own, whatever the id is."""
    for id_ in ("t", "log:t", "task:t"):
        channels = events.Channels("db")
        assert channels.subject_of(channels.task(id_)) == (id_, False)
        assert channels.subject_of(channels.log(id_)) == (id_, True)


def test_outside_a_worker_nothing_is_kept() -> None:
    """A task function that is called directly, in a test perhaps, may log."""
    app = Celery("outside", task_cls="gql_api.worker.app.task:Task", set_as_current=False)

    @app.task(bind=True, shared=False)  # type: ignore[untyped-decorator] # Celery's
    def log_something(self: Task) -> str:
        self.log("to %s", "nobody")
        self.log("x", level="loud")
        return "done"

    assert log_something() == log_something.apply().get() == "done"


def test_the_task_logger_keeps_our_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool process with a log file of its own sets logging up again, which takes all handlers away."""
    monkeypatch.setattr(task_logger, "handlers", [])
    monkeypatch.setattr(signals.after_setup_task_logger, "receivers", [])
    attach(cast("Backend", None))
    (handler,) = task_logger.handlers
    task_logger.handlers.clear()
    signals.after_setup_task_logger.send(sender=None)
    assert task_logger.handlers == [handler]


class Written:
    """Collects what the writer writes."""

    def __init__(self, answer: bool | None = False) -> None:
        self.batches: list[tuple[str, int, list[str]]] = []
        self.may_write = threading.Event()
        self.may_write.set()
        self.answer = answer

    def __call__(self, task_id: str, attempt: int, entries: list[Entry]) -> bool | None:
        """Take one batch."""
        self.may_write.wait(10)
        self.batches.append((task_id, attempt, [entry.message for entry in entries]))
        return self.answer

    @property
    def messages(self) -> list[str]:
        """All lines as they were written."""
        return [message for _, _, messages in self.batches for message in messages]


def _writer(written: Any, lines: int = 1000, bytes_: int = 10_000, interval: float = 0.05) -> LogWriter:
    return LogWriter(written, lambda _: None, Limits(lines, bytes_), interval)


def _add(writer: LogWriter, *texts: str, task_id: str = "t", attempt: int = 1) -> None:
    for entry in _entries(*texts):
        writer.add(task_id, attempt, entry)


def test_lines_are_written_in_batches_and_in_order() -> None:
    """Many lines become few writes, in their order, without an end of the attempt."""
    written = Written()
    written.may_write.clear()  # a slow machine may add for as long as several intervals
    writer = _writer(written)
    texts = [str(n) for n in range(500)]
    _add(writer, *texts)
    written.may_write.set()
    wait_until(lambda: len(written.messages) == 500)
    assert written.messages == texts
    assert len(written.batches) <= 2


def test_the_end_of_an_attempt_waits_for_its_lines() -> None:
    """When finish returns, what was being written and what still waited are written, in this order."""
    written = Written()
    written.may_write.clear()
    writer = _writer(written, interval=0.0)
    _add(writer, "a")
    wait_until(lambda: not writer._logs["t", 1].waiting)  # noqa: SLF001 - the moment a batch is under way
    _add(writer, "b")
    threading.Timer(0.1, written.may_write.set).start()
    writer.finish("t", 1)
    assert written.messages == ["a", "b"]


def test_an_attempt_that_logged_nothing_costs_nothing() -> None:
    """There is neither a write nor a thread for it."""
    written = Written()
    writer = _writer(written)
    writer.finish("t", 1)
    assert written.batches == []
    assert not writer._thread.is_running  # noqa: SLF001 - what is tested


def test_an_outage_holds_nobody_up_and_costs_bounded_memory() -> None:
    """While MongoDB is away a function goes on; all lines that the log could keep wait, and are written later."""
    written = Written()
    written.may_write.clear()
    writer = _writer(written, lines=100)
    started = time.monotonic()
    _add(writer, *(str(n) for n in range(10_000)))
    assert time.monotonic() - started < 5
    assert not writer.wants("t", 1)
    written.may_write.set()
    writer.finish("t", 1)
    # One more than is kept: it makes the note.
    assert written.messages == [str(n) for n in range(101)]


def test_the_text_that_waits_is_bounded_too() -> None:
    """Few long lines reach the limit like many short ones."""
    written = Written()
    writer = _writer(written, bytes_=1000, interval=10)
    _add(writer, *["x" * 300] * 10)
    writer.finish("t", 1)
    assert len(written.messages) == 4


@pytest.mark.parametrize("answer", [True, False])
def test_a_full_log_takes_no_more(answer: bool) -> None:
    """When the record says that a task's log is full, perhaps by earlier attempts, lines are not even made."""
    written = Written(answer)
    writer = _writer(written, interval=0.0)
    _add(writer, "a")
    wait_until(lambda: written.batches and writer.wants("t", 1) is not answer)
    _add(writer, "b")
    writer.finish("t", 1)
    assert written.messages == (["a"] if answer else ["a", "b"])


def test_tasks_and_attempts_are_apart() -> None:
    """The lines of attempts that run in one process at the same time are not mixed up."""
    written = Written()
    writer = _writer(written)
    for task_id, attempt in (("a", 1), ("b", 1), ("a", 2)):
        _add(writer, f"{task_id}{attempt}", task_id=task_id, attempt=attempt)
    wait_until(lambda: len(written.batches) == 3)
    assert sorted(written.batches) == [("a", 1, ["a1"]), ("a", 2, ["a2"]), ("b", 1, ["b1"])]


def test_lines_that_cannot_be_written_fail_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A permanent error is logged in the worker's own log, and later lines are written."""
    written: list[str] = []

    def write(_task_id: str, _attempt: int, entries: list[Entry]) -> bool:
        if entries[0].message == "bad":
            raise RuntimeError("cannot be")
        written.extend(entry.message for entry in entries)
        return False

    writer = _writer(write, interval=10)
    _add(writer, "bad")
    writer.finish("t", 1)
    _add(writer, "good")
    writer.finish("t", 1)
    assert written == ["good"]
    assert "1 lines of log of task t were not stored" in caplog.text
