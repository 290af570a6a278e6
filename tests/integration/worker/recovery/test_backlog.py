from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from redis import Redis

from gql_api.dispatch import Dispatcher
from gql_api.record.model import NewTask
from gql_api.settings import Settings
from gql_api.worker.backend.messages import queue_of
from gql_api.worker.recovery.backlog import Backlog, QueuedMessage


@pytest.fixture(params=["", "prefix:"])
def app(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Celery]:
    """A Celery app on a queue of its own, with and without a prefix to all of its keys."""
    app = Celery("broker-tests", broker=settings.celery_broker_url, set_as_current=False)
    options = {"global_keyprefix": request.param} if request.param else {}
    app.conf.update(task_default_queue=f"q-{uuid.uuid4()}", broker_transport_options=options)
    yield app
    app.close()


def test_the_oldest_message_is_the_one_sent_first(app: Celery) -> None:
    """The first message of a priority is found, and none where the queue is empty."""
    queue, backlog = app.conf.task_default_queue, Backlog(app)
    assert backlog.oldest(queue, 0) is None
    for task_id in ("first", "second"):
        app.send_task("shop.price", task_id=task_id)
    app.send_task("shop.price", task_id="later", priority=9)
    oldest = [backlog.oldest(queue, priority) for priority in (0, 3, 9)]
    assert oldest == [QueuedMessage("first", None), None, QueuedMessage("later", None)]


def test_a_broker_that_is_away_is_an_error() -> None:
    """A queue that cannot be read is an error, unlike an empty one."""
    app = Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False)
    with pytest.raises(OperationalError):
        Backlog(app).oldest("q", 0)
    app.close()


def test_a_queue_is_found_by_its_binding(app: Celery) -> None:
    """A message sent to an exchange is in the queue that is bound to it, whatever its routing key is called."""
    bound = Queue("media_video", Exchange("media"), routing_key="video")  # type: ignore[no-untyped-call] # kombu
    app.conf.task_queues = [bound]
    assert queue_of(app, None, "media", "video") == "media_video"
    assert queue_of(app, "named", "media", "video") == "named"
    assert queue_of(app, None, None, "plain") == "plain"
    assert queue_of(app, None, None, None) == app.conf.task_default_queue


@pytest.mark.timeout(20)
def test_a_dispatcher_works_after_another_was_closed(settings: Settings) -> None:
    """An application that is started again in the same process, on the same broker, still sends its tasks."""
    with Redis.from_url(settings.celery_broker_url) as redis:
        for number in range(1, 4):
            dispatcher = Dispatcher(settings)
            dispatcher.publish([NewTask(id=str(uuid.uuid4()), name="shop.price", queue="sent-again")])
            dispatcher.close()
            assert redis.llen("sent-again") == number
