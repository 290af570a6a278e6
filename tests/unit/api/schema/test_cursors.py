from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gql_api.api.schema.pagination import Cursor, CursorError, LogCursor
from gql_api.query.lists import Order, OrderField, Position

_ORDERS = st.builds(Order, st.sampled_from(OrderField), descending=st.booleans())


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - Hypothesis adds the zone
    st.text(st.characters(exclude_categories=["Cs"])),
    _ORDERS,
)
def test_a_cursor_comes_back(at: datetime, task_id: str, order: Order) -> None:
    """A position survives being sent to a client, to the millisecond that MongoDB keeps."""
    cursor = Cursor(order, Position(at.replace(microsecond=at.microsecond // 1000 * 1000), task_id))
    assert Cursor.parse(str(cursor), order) == cursor


@given(_ORDERS, _ORDERS)
def test_a_cursor_belongs_to_its_order(order: Order, other: Order) -> None:
    """A position in one order is refused in another, which would leave tasks out."""
    cursor = str(Cursor(order, Position(datetime(2026, 1, 1, tzinfo=UTC), "t")))
    if order == other:
        assert Cursor.parse(cursor, other).order == order
    else:
        with pytest.raises(CursorError, match="another order"):
            Cursor.parse(cursor, other)


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "%%%", "ünicode", _encoded("1"), _encoded("[]"), _encoded('["created_at:desc"]'),
        _encoded('["created_at:desc", "soon", "id"]'), _encoded('["created_at:desc", 1e400, "id"]'),
        _encoded('["created_at:desc", NaN, "id"]'), _encoded('["created_at:desc", 1.5, "id"]'),
        _encoded('["created_at:desc", 1, 2]'), _encoded('["finished_at:desc", 1, "id"]'), _encoded("[" * 5000),
    ],
)  # fmt: skip
def test_a_bad_cursor_is_an_error(text: str) -> None:
    """Whatever a client sends as a cursor, the answer is one clear error."""
    with pytest.raises(CursorError):
        Cursor.parse(text, Order())


@given(st.integers(0, 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_cursor_of_a_log_comes_back(position: int, task_id: str) -> None:
    """A position in a log survives being sent to a client."""
    assert LogCursor.parse(str(LogCursor(task_id, position)), task_id) == LogCursor(task_id, position)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "ünicode", _encoded("1"), _encoded("[]"), _encoded('["log", 1]'), _encoded('["log", 1, "other"]'),
        _encoded('["log", -1, "t"]'), _encoded('["log", true, "t"]'), _encoded('["log", 1.0, "t"]'),
        _encoded('["log", 9223372036854775808, "t"]'), _encoded('["log", "1", "t"]'), _encoded('["log", [], "t"]'),
        str(Cursor(Order(), Position(datetime(2026, 1, 1, tzinfo=UTC), "t"))), _encoded("[" * 5000),
    ],
)  # fmt: skip
def test_a_bad_cursor_of_a_log_is_an_error(text: str) -> None:
    """A cursor of another task, or of a list of tasks, is refused like any other text."""
    with pytest.raises(CursorError):
        LogCursor.parse(text, "t")
