"""The queue, the priority and the options of the broker that a worker announces with a task."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from kombu.entity import Exchange, Queue

from gql_api.worker.registration.signatures import define

# kombu has no types.
_USUAL = Queue("usual")  # type: ignore[no-untyped-call]
_MEDIA = Exchange("media", type="topic")  # type: ignore[no-untyped-call]
_FILMS = Queue("films", _MEDIA, routing_key="video")  # type: ignore[no-untyped-call]
_SETTINGS = {
    "task_default_queue": "usual",
    "task_queues": [_USUAL, _FILMS],
    "task_default_priority": 4,
    "task_routes": {
        "by.queue": {"queue": "films"},
        "by.exchange": {"exchange": "media", "routing_key": "video"},
        "by.priority": {"priority": 7},
        "by.*": "others",
    },
}


def _nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("plain", {}, ("usual", 4)),
        ("plain", {"queue": "own", "priority": 0}, ("own", 0)),
        ("plain", {"queue": _FILMS}, ("films", 4)),
        ("by.queue", {}, ("films", 4)),
        ("by.exchange", {}, ("films", 4)),
        ("by.pattern", {"priority": 2}, ("others", 2)),
    ],
)
def test_a_task_goes_where_the_application_sends_it(
    name: str, options: dict[str, Any], expected: tuple[str, int]
) -> None:
    """Routes, queues and defaults of the application count, and options of the task before them."""
    app = Celery("shop", set_as_current=False)
    app.conf.update(_SETTINGS)
    task = app.task(name=name, shared=False, **options)(_nothing)
    definition = define(task, app)
    assert (definition.queue, definition.priority) == expected
    assert definition.transport == ()


def test_options_that_name_the_lists_of_redis_are_announced() -> None:
    """Others concern the worker only."""
    app = Celery("shop", set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": "shop.", "sep": ":", "visibility_timeout": 60}
    task = app.task(name="plain", shared=False)(_nothing)
    assert define(task, app).transport == (("global_keyprefix", "shop."), ("sep", ":"))
