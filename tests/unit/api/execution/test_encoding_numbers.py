from __future__ import annotations

import json
from datetime import UTC, datetime

from gql_api.api.execution.encoding import encode


def test_an_answer_with_large_integers_is_json() -> None:
    """An integer of more than 64 bits does not bring NaN into an answer, which Python's json would write."""
    answer = json.loads(encode({"a": [2**70, {"b": float("nan")}], "at": datetime(2026, 1, 1, tzinfo=UTC)}))
    assert answer == {"a": [2**70, {"b": "NaN"}], "at": "2026-01-01T00:00:00+00:00"}
