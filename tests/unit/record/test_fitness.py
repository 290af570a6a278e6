"""The generated check of a record against the check of each field by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from bson import DBRef, Int64

from gql_api.record import fields as f
from gql_api.record.fitness import rules
from gql_api.record.fitness.rules import Fitness
from gql_api.record.model import MAX_INT

_AT = datetime(2026, 1, 2, tzinfo=UTC)
_TRANSITION = {f.REVISION: 1, f.STATUS: "QUEUED", f.AT: _AT, f.WORKER: "w", f.MESSAGE: None}
_RECORD: dict[str, Any] = {
    f.ID: "t1", f.REVISION: 3, f.STATUS: "FAILURE", f.NAME: "add", f.ARGS: [1], f.KWARGS: {}, f.METADATA: {"a": 1},
    f.ATTEMPTS: 1, f.QUEUE: "celery", f.PRIORITY: -1, f.ROOT_ID: "t1", f.CREATED_AT: _AT, f.UPDATED_AT: _AT,
    f.HISTORY: [_TRANSITION, {**_TRANSITION, f.ACTOR: "ann"}], f.ERROR: {f.TYPE: "E", f.MESSAGE: "m"},
    f.PROGRESS: {}, f.LOST_ATTEMPTS: 0, f.OWNER: "ann", f.EXPIRES_AT: None,
}  # fmt: skip


class _Text(StrEnum):
    QUEUED = "QUEUED"


_ODD: list[Any] = [
    None, True, 0, 1, -1, 1.0, 1.5, float("nan"), float("inf"), Int64(2), MAX_INT, MAX_INT + 1, "", "QUEUED", "?",
    _Text.QUEUED, b"x", _AT, [], [{}], [None], [_TRANSITION, 1], {}, {"a": 1}, {f.TYPE: 1, f.MESSAGE: "m"},
    DBRef("a", "b"), {f.TYPE: "E", f.MESSAGE: "m", f.TRACEBACK: 2},
]  # fmt: skip


def _changed(document: dict[str, Any], names: list[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        yield {key: value for key, value in document.items() if key != name}
        yield from ({**document, name: value} for value in _ODD)


def _documents(fitness: Fitness) -> Iterator[Any]:
    yield _RECORD
    yield from _changed(_RECORD, [*fitness.rules, "other"])
    for entry in _changed(_TRANSITION, [*_TRANSITION, f.ACTOR]):
        yield {**_RECORD, f.HISTORY: [_TRANSITION, entry]}
    yield from ({**_RECORD, f.ERROR: error} for error in _changed({f.TYPE: "E", f.MESSAGE: "m"}, [f.TYPE, f.MESSAGE]))


@pytest.mark.parametrize("fitness", [rules.WHOLE, rules.LIFECYCLE, rules.IN_EVENTS, rules.CORE], ids=range(4))
def test_the_generated_check_accepts_what_all_checks_accept(fitness: Fitness) -> None:
    """A record fits if and only if each of its fields keeps its rule."""
    for document in _documents(fitness):
        assert fitness._accepts(document) is (not fitness.misfits(document)), document  # noqa: SLF001 - the short way
        assert (fitness.first_misfit(document) is None) is (not fitness.misfits(document)), document


def test_usual_records_are_checked_by_the_short_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """No check of a single field is asked for a record as workers write it."""
    monkeypatch.setattr(rules, "_check", lambda _, may_be_absent=False: lambda value: value is None and may_be_absent)
    assert Fitness(rules.WHOLE.rules).first_misfit(_RECORD) is None
