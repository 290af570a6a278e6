"""Which of two versions of a task is news."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gql_api.record.fields import Status
from gql_api.record.model import NO_VERSION, Version

STARTED, SUCCESS = Status.STARTED, Status.SUCCESS


def _version(revision: int, second: int, status: Status = STARTED) -> Version:
    return Version(revision, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second), status)


@pytest.mark.parametrize(
    ("version", "last", "is_news", "contradicts"),
    [
        (_version(1, 1, Status.QUEUED), NO_VERSION, True, False),
        (_version(4, 2), _version(3, 1), True, False),
        (_version(3, 1), _version(3, 1), False, False),
        (_version(2, 1), _version(3, 2), False, False),
        # The clock of the next primary is behind.
        (_version(4, 1), _version(3, 2), True, False),
        # MongoDB lost revision 3 of second 2, or the earlier of two events came last.
        (_version(3, 3), _version(3, 2), True, False),
        (_version(3, 1), _version(3, 2), False, True),
        (_version(2, 3), _version(3, 2), False, True),
        # Nothing but an end is certain to be the last.
        (_version(3, 2, SUCCESS), _version(3, 1), True, False),
        (_version(2, 2, SUCCESS), _version(5, 1), True, False),
        (_version(3, 1, SUCCESS), _version(3, 2), True, False),
        (_version(4, 3), _version(3, 2, SUCCESS), False, False),
        (_version(2, 3), _version(3, 2, SUCCESS), False, False),
        # Metadata of a task that has ended.
        (_version(4, 3, SUCCESS), _version(3, 2, SUCCESS), True, False),
        (_version(3, 2, SUCCESS), _version(4, 3, SUCCESS), False, False),
        (_version(3, 4, SUCCESS), _version(4, 3, SUCCESS), False, True),
    ],
)
def test_what_is_news(version: Version, last: Version, *, is_news: bool, contradicts: bool) -> None:
    """An end is news, then a higher revision, then a later time; MongoDB decides where revisions and times disagree."""
    assert (version.is_news(last), version.contradicts(last)) == (is_news, contradicts)


def test_equal_versions() -> None:
    """Versions are equal when all of their fields are."""
    version = _version(1, 1)
    assert version == _version(1, 1)
    assert hash(version) == hash(_version(1, 1))
    assert version not in (_version(2, 1), _version(1, 2), _version(1, 1, Status.RETRY), 1)
