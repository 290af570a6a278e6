from __future__ import annotations

import threading

import pytest
from support import wait_until

from gql_api.record import logs
from gql_api.record.logs import Entry, Limits
from gql_api.worker.backend.reports.log_writer import LogWriter

NOTHING = (0, 0)


class Stored:
    """Collects what a writer stores, and what it copies."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.copied: list[str] = []
        self.may_write = threading.Event()
        self.may_write.set()

    def write(self, _task_id: str, _attempt: int, entries: list[Entry]) -> bool:
        """Store some lines."""
        self.may_write.wait(10)
        self.messages.extend(entry.message for entry in entries)
        return False

    def copy(self, task_ids: list[str]) -> None:
        """Copy the last lines of some tasks."""
        self.copied.extend(task_ids)


@pytest.fixture
def stored() -> Stored:
    """What is stored."""
    return Stored()


@pytest.fixture
def writer(stored: Stored) -> LogWriter:
    """A writer whose thread does nothing by itself in this test, unless it is asked for."""
    return LogWriter(stored.write, stored.copy, Limits(100, 10_000), interval=60)


def _add(writer: LogWriter, *texts: str) -> None:
    for text in texts:
        writer.add("t", 1, Entry.of(20, text, 0.0))


def test_few_lines_go_with_the_end(writer: LogWriter, stored: Stored) -> None:
    """They are not written by themselves, neither before the end nor after it."""
    _add(writer, "a", "b")
    with writer.ending("t", 1, NOTHING) as last:
        assert [entry.message for entry in last.entries] == ["a", "b"]
    writer.finish("t", 1)
    assert stored.messages == []


def test_they_are_copied_behind_the_end(stored: Stored) -> None:
    """A later write copies the lines of several tasks together; a task without lines has nothing to copy."""
    writer = LogWriter(stored.write, stored.copy, Limits(100, 10_000), interval=60, copy_interval=60)
    for task_id in "ab":
        writer.add(task_id, 1, Entry.of(20, "x", 0.0))
        with writer.ending(task_id, 1, NOTHING) as last:
            assert last.entries
            assert stored.copied == []
    with writer.ending("c", 1, NOTHING):
        pass
    writer._copy_at = 0.0  # noqa: SLF001 - as if the interval had passed
    writer._flush_all()  # noqa: SLF001 - the thread does it then
    assert stored.copied == ["a", "b"]


@pytest.mark.parametrize(
    ("texts", "counted"),
    [
        (["x"] * 17, NOTHING),
        (["x" * 4096] * 3, (0, 0)),
        (["a", "b"], (99, 99)),
        (["a", "b"], (2, 9_999)),
    ],
    ids=["too many", "too long", "no room for lines", "no room for bytes"],
)
def test_other_lines_are_stored_before_the_end(
    writer: LogWriter, stored: Stored, texts: list[str], counted: tuple[int, int]
) -> None:
    """A record has room for few lines, and what the limits leave out is decided by the record."""
    _add(writer, *texts)
    with writer.ending("t", 1, counted) as last:
        assert last.entries == []
        assert stored.messages == texts


def test_lines_that_are_being_stored_come_first(stored: Stored) -> None:
    """The end waits for a batch that is under way, and has the lines behind it."""
    stored.may_write.clear()
    writer = LogWriter(stored.write, stored.copy, Limits(100, 10_000), interval=0.0)
    _add(writer, "a")
    wait_until(lambda: not writer._logs["t", 1].waiting)  # noqa: SLF001 - the moment a batch is under way
    writer._interval = 60  # noqa: SLF001 - the next batch does not come before the end
    _add(writer, "b")
    threading.Timer(0.1, stored.may_write.set).start()
    with writer.ending("t", 1, NOTHING) as last:
        written = list(stored.messages)
        assert (written, [entry.message for entry in last.entries]) == (["a"], ["b"])


def test_an_end_that_cannot_be_stored_keeps_its_lines(writer: LogWriter, stored: Stored) -> None:
    """Celery then stores another end, which has them, and the copies are made once."""
    _add(writer, "a")
    with pytest.raises(ValueError, match="too large"), writer.ending("t", 1, NOTHING):
        raise ValueError("too large")
    _add(writer, "b")
    with writer.ending("t", 1, NOTHING) as last:
        assert [entry.message for entry in last.entries] == ["a", "b"]
    assert stored.messages == []


def test_no_later_line_is_stored_before_them(writer: LogWriter, stored: Stored) -> None:
    """A thread that the function has left behind adds nothing to the log from here on."""
    _add(writer, "a")
    with writer.ending("t", 1, NOTHING) as last:
        assert not writer.wants("t", 1)
        _add(writer, "late")
        last.store_apart()
    assert stored.messages == ["a"]


def test_lines_can_be_stored_apart_from_the_end(writer: LogWriter, stored: Stored) -> None:
    """An end that is tried once more without them finds them stored, once."""
    _add(writer, "a", "b")
    with writer.ending("t", 1, NOTHING) as last:
        last.store_apart()
        assert stored.messages == ["a", "b"]
        assert last.entries == []
    writer.finish("t", 1)
    assert stored.messages == ["a", "b"]


def test_no_reader_needs_the_tail_and_the_lines_to_be_apart() -> None:
    """Copies of some lines of the tail, in any order, are the same lines; a level and a position hold for both."""
    one, two, three = (
        logs.line_from({"position": number, "at": None, "level": 10 * number, "message": str(number)})
        for number in (1, 2, 3)
    )
    assert logs.merged([three], [two, three], 0, logs.LogLevel.DEBUG) == [two, three]
    assert logs.merged([one], [two, three], 0, logs.LogLevel.INFO) == [one, two, three]
    assert logs.merged([], [two, three], 2, logs.LogLevel.DEBUG) == [three]
    assert logs.merged([], [two, three], 0, logs.LogLevel.WARNING) == [three]
