from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from malformed import malformed, not_messages
from proxy import Mode, Proxy
from redis import Redis

from gql_api import values
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


def test_a_queue_may_have_anything(app: Celery) -> None:
    """Nothing is known about a queue whose next message is none, and the search of others goes on."""
    queue, backlog = app.conf.task_default_queue, Backlog(app)
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        for content in (*not_messages(), *(raw for _, raw in malformed("shop.price", queue))):
            channel.client.lpush(queue, content)
            oldest = backlog.oldest(queue, 0)
            assert oldest is not None
            assert values.is_text(oldest.task_id)
            assert oldest.sent_at is None
            channel.client.rpop(queue)


def test_a_broker_that_is_away_is_an_error() -> None:
    """A queue that cannot be read is an error, unlike an empty one."""
    app = Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False)
    with pytest.raises(OperationalError):
        Backlog(app).oldest("q", 0)
    app.close()


def _connections(app: Celery, settings: Settings) -> set[str]:
    with Redis.from_url(settings.celery_broker_url, decode_responses=True) as redis:
        clients: Any = redis.client_list()
    name = app.conf.broker_transport_options["client_name"]
    return {client["id"] for client in clients if client["name"] == name}


def test_all_questions_share_a_connection(app: Celery, settings: Settings) -> None:
    """Threads ask over one connection, which is replaced when it was closed, and when it is old."""
    app.conf.broker_transport_options |= {"client_name": str(uuid.uuid4())}
    backlog, queue = Backlog(app, max_age=600), app.conf.task_default_queue
    run = backlog.run_id()
    assert run
    first = _connections(app, settings)
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(backlog.run_id) for _ in range(20)]
        assert [threads.submit(backlog.oldest, queue, 0).result() for _ in range(20)] == [None] * 20
        assert {answer.result() for answer in answers} == {run}
    assert len(first) == 1
    assert _connections(app, settings) == first
    with Redis.from_url(settings.celery_broker_url) as redis:
        redis.client_kill_filter(_id=first.pop())
    assert backlog.run_id() == run
    young = Backlog(app, max_age=0)
    young.run_id()
    before = _connections(app, settings)
    young.run_id()
    after = _connections(app, settings)
    assert len(before - after) == len(after - before) == 1


@pytest.mark.timeout(30)
def test_a_dead_connection_is_replaced(settings: Settings, tmp_path: Path) -> None:
    """A connection that carries nothing any more is an error after the timeout of the app's broker, and is not kept."""
    port = urlsplit(settings.celery_broker_url).port or 6379
    with (tmp_path / "log").open("wb") as log, Proxy({"redis": port}, log) as proxy:
        app = Celery("half-open", broker=f"redis://127.0.0.1:{proxy.port('redis')}/0", set_as_current=False)
        app.conf.broker_transport_options = {"socket_timeout": 0.5}
        backlog = Backlog(app, max_age=600)
        run = backlog.run_id()
        proxy.set("redis", Mode.HALF_OPEN)
        with pytest.raises(OperationalError):
            backlog.run_id()
        assert backlog.run_id() == run
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
