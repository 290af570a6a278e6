from __future__ import annotations

import pytest

from gql_api.worker.recovery.contact import Contact


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at zero."""
    return Clock()


def _answer(contact: Contact, clock: Clock, *times: float, run: str | None = None) -> None:
    for time in times:
        clock.now = time
        contact.note_answer(run)


def test_contact_lasts_from_the_first_answer(clock: Clock) -> None:
    """A server that answers often enough is in contact since its first answer."""
    contact = Contact(1.0, clock)
    assert not contact.is_open()
    _answer(contact, clock, 10.0, 11.0, 12.0)
    assert contact.is_open()
    assert contact.has_lasted(1.5)
    assert not contact.has_lasted(2.0)


def test_a_failure_breaks_contact(clock: Clock) -> None:
    """Contact begins again with the answer after a failure, which is news once."""
    contact = Contact(1.0, clock)
    _answer(contact, clock, 10.0, 11.0)
    assert contact.note_failure()
    assert not contact.note_failure()
    assert not contact.is_open()
    _answer(contact, clock, 11.1, 12.0)
    assert not contact.has_lasted(1.0)
    assert contact.note_failure()


def test_a_pause_breaks_contact(clock: Clock) -> None:
    """A call that took too long is a pause, although it succeeded, and contact is not open while it lasts."""
    contact = Contact(1.0, clock)
    _answer(contact, clock, 10.0, 11.0, 12.0)
    clock.now = 13.5
    assert not contact.is_open()
    assert not contact.has_lasted(1.0)
    _answer(contact, clock, 13.5, 14.0)
    assert contact.is_open()
    assert not contact.has_lasted(1.0)


def test_another_run_of_the_server_is_news_once(clock: Clock) -> None:
    """The first answer of another run shows, after an outage too; that of the only run does not."""
    contact = Contact(1.0, clock)
    assert [contact.note_answer(run) for run in ("a", "a", "b", "b")] == [False, False, True, False]
    contact.note_failure()
    assert not contact.note_answer("b")
    contact.note_failure()
    assert contact.note_answer("c")


def test_a_server_that_started_again_breaks_contact(clock: Clock) -> None:
    """An answer of another run of the server is the first of a new contact."""
    contact = Contact(1.0, clock)
    _answer(contact, clock, 10.0, 11.0, run="a")
    _answer(contact, clock, 11.5, 12.0, run="b")
    assert not contact.has_lasted(1.0)
    _answer(contact, clock, 13.0, run="b")
    assert contact.has_lasted(1.0)
