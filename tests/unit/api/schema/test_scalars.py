"""The times that clients send."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from graphql import GraphQLError

from gql_api.api.schema.scalars import SCALARS


def _parse(text: str) -> object:
    parse = SCALARS[datetime].parse_value
    assert parse is not None
    return parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-W01-1T00:00:00Z",
        "20260101T000000Z",
        "2026-01-01T000000Z",
        "20260101T00:00:00Z",
        "2026-01-01T00:00Z",
        "2026-01-01T00Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01_00:00:00Z",
        "2026-01-01T00:00:00+01",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+01:00:30",
        "2026-01-01T00:00:00+01:60",
        "2026-01-01T00:00:00Z\n",
        "\u0662026-01-01T00:00:00Z",
    ],
)
def test_other_forms_of_iso_8601_are_refused(text: str) -> None:
    """Python reads most of them, other languages do not."""
    with pytest.raises(GraphQLError, match="DateTime must be an RFC 3339 time, like"):
        _parse(text)


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-01-01T01:00:00+01:00", 0),
        ("2025-12-31t19:00:00.5-05:00", 500_000),
        ("2026-01-01 00:00:00.123456789z", 123_456),
        ("2026-01-01T00:00:00-00:00", 0),
    ],
)
def test_forms_of_rfc_3339_are_read(text: str, microsecond: int) -> None:
    """A time may have a small t and z, or a space, and any fraction of a second."""
    assert _parse(text) == datetime(2026, 1, 1, 0, 0, 0, microsecond, UTC)
