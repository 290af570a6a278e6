"""Messages of recorded tasks: the settings that publishers and workers must share, and the API's publisher."""

from __future__ import annotations

import contextlib
import functools
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from celery import Celery, signals
from kombu.exceptions import BatchPublishError, OperationalError
from kombu.utils import json as kombu_json
from redis.exceptions import RedisError

from gql_api.messages.argument_texts import TEXTS, texts_of
from gql_api.messages.templates import Templates
from gql_api.record.fields import VERSION_HEADER
from gql_api.record.model import MessageParts, NewTask
from gql_api.settings import Settings

__all__ = [
    "ATTEMPTS",
    "HIDDEN_HEADER",
    "JSON_ONLY",
    "PIPELINED",
    "PRIORITIES",
    "PRIORITY_STEPS",
    "TEXTS",
    "TRANSPORT_OPTIONS",
    "Dispatcher",
    "OperationalError",
    "Transport",
    "broker_errors",
    "broker_id",
    "can_carry",
    "for_version",
    "hiding",
    "message_of",
    "protocol_config",
    "texts_of",
    "time_limited",
]

# The only content of messages and results: anything that can run code stays out.
JSON_ONLY = {"task_serializer": "json", "result_serializer": "json", "accept_content": ["json"]}

# The header with the number of attempts that had begun when the message was made; a message without it follows none.
ATTEMPTS = "gql_api_attempts"

# The header of a message whose texts for its arguments hide some. It lists those of the parts, ``args`` and ``kwargs``,
# for which the sender has given a text of its own.
HIDDEN_HEADER = "gql_api_hidden"

# Every priority has a list of its own in Redis, 0 first; kombu's default has four for all ten.
PRIORITIES = range(10)
PRIORITY_STEPS = {"priority_steps": list(PRIORITIES)}

# The options of kombu's transport that decide which list of Redis is a queue.
TRANSPORT_OPTIONS = ("global_keyprefix", "sep")
Transport: TypeAlias = tuple[tuple[str, str], ...]

# In the JSON of each typed value.
_TYPED = '"__type__"'

# The key in the broker that tells its databases apart.
_BROKER_KEY = "gql_api.broker"

_CONNECT_SECONDS = 2.0
_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_max": 0.1}
# The number of messages in one pipeline.
PIPELINED = 500


def protocol_config(settings: Settings) -> dict[str, Any]:
    """Return the part of Celery's configuration that publishers and workers share: JSON only, both ways."""
    return {
        # All three, because an environment variable of Celery's would take precedence over ``broker_url``.
        "broker_url": settings.celery_broker_url,
        "broker_read_url": settings.celery_broker_url,
        "broker_write_url": settings.celery_broker_url,
        **JSON_ONLY,
        "enable_utc": True,
    }


def can_carry(value: Any) -> bool:
    """Return whether kombu's JSON decoder can read a JSON value.

    An object of exactly ``__type__`` and ``__value__`` is kombu's form of a typed value; one that kombu cannot decode
    would make the worker discard the whole message.
    """
    try:
        text = json.dumps(value)
        if _TYPED in text:
            kombu_json.loads(text)  # type: ignore[no-untyped-call] # kombu has no types
    except Exception:  # noqa: BLE001 - a decoder of kombu's may raise anything on a made-up value
        return False
    return True


def time_limited(seconds: float | None) -> MessageParts | None:
    """Return the message parts for a hard time limit of the task's own, or None without one."""
    return None if seconds is None else MessageParts(headers={"timelimit": [seconds, None]})


def for_version(parts: MessageParts | None, version: str | None) -> MessageParts | None:
    """Return the message parts of a call that was checked against a version of its function."""
    if version is None:
        return parts
    parts = parts or MessageParts()
    return replace(parts, headers={**parts.headers, VERSION_HEADER: version})


def hiding(parts: MessageParts | None) -> MessageParts:
    """Return the parts of a message whose texts for arguments are made of what clients see."""
    parts = parts or MessageParts()
    return replace(parts, headers={**parts.headers, HIDDEN_HEADER: []})


def message_of(app: Celery, task: NewTask, *, with_expiry: bool = False, **shown: str) -> Any:
    """Return the message of a task, made by Celery's ``as_task_v2``. ``shown`` are its texts for arguments.

    ``with_expiry`` is for stock workers, which read the expiry from the message only.
    """
    parts = task.message or MessageParts()
    if task.shown is not None and not shown:
        shown = texts_of(task.shown)
    message = app.amqp.as_task_v2(
        task.id,
        parts.task or task.name,
        task.args if parts.args is None else parts.args,
        task.kwargs if parts.kwargs is None else parts.kwargs,
        root_id=task.root_id or task.id,
        parent_id=task.parent_id,
        # None leaves it to the task function, which only workers know; a header of its message can override it.
        ignore_result=None,
        **shown,
    )
    message.headers.update(parts.headers)
    if with_expiry and task.expires_at is not None:
        message.headers["expires"] = task.expires_at.isoformat()
    if task.attempts:
        message.headers[ATTEMPTS] = task.attempts
    message.body[2].update(parts.embed)
    return message


@contextlib.contextmanager
def broker_errors() -> Iterator[None]:
    """Raise one kind of error for all that kombu raises when the broker is away, or was for a moment.

    Raises:
        OperationalError: the broker has not received all messages.
    """
    try:
        yield
    except (BatchPublishError, RedisError, OSError) as error:
        raise OperationalError(str(error)) from error
    except AttributeError as error:
        # To declare a queue kombu replaces a connection that was lost. It then publishes over the channel that it had
        # before, which belongs to no connection any more.
        if (error.name, error.obj) != ("client", None):
            raise
        raise OperationalError("the connection was lost") from error


def broker_id(app: Celery) -> str:
    """Return an id of the Redis, and of its database, that is the broker of an app. The first caller stores it there.

    Raises:
        OperationalError: the broker does not answer, or refuses.
    """
    with broker_errors(), app.connection_for_write() as connection:
        # By default kombu tries again for seconds.
        connection.ensure_connection(max_retries=0)
        channel: Any = connection.default_channel
        # kombu adds the prefix to SET, and not to GET.
        channel.client.set(_BROKER_KEY, uuid.uuid4().hex, nx=True)
        found: bytes | str = channel.client.get(f"{channel.global_keyprefix}{_BROKER_KEY}")
    return found.decode() if isinstance(found, bytes) else found


class Dispatcher:
    """Publishes recorded tasks to the broker. Thread-safe; each call blocks for a round trip."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._apps: dict[Transport, Celery] = {}
        self._templates: dict[Transport, Templates] = {}

    def publish(self, tasks: Sequence[NewTask], transport: Transport = ()) -> None:
        """Send the messages of some tasks, several of them in one pipeline.

        ``transport`` has the options of the workers' broker, as they announced them.

        Raises:
            OperationalError: the broker has not received all of them.
        """
        app = self._app_for(transport)
        templates = self._templates.setdefault(transport, Templates())
        with broker_errors(), app.producer_or_acquire() as producer:
            push = producer.connection.ensure(producer, self._push, **_RETRY_POLICY)
            if self._uses_templates and push(app, producer, tasks, templates):
                return
            if len(tasks) == 1:
                self._send(app, producer, tasks[0], retry=True)
                return
            with producer.batch(max_size=PIPELINED):
                for task in tasks:
                    self._send(app, producer, task, retry=False)

    def ready(self, tasks: Sequence[NewTask]) -> dict[str, list[str]] | None:
        """Return the messages of tasks by the list of the broker that each is pushed to, in order, without blocking.

        They are for a broker without options. None if Celery or kombu have work to do for one of them.
        """
        templates = self._templates.get(()) if self._uses_templates else None
        return None if templates is None else templates.known_lists(tasks)

    @property
    def _uses_templates(self) -> bool:
        """True if no program receives a message before it is sent, and none has an expiry of its own."""
        hooks = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)
        return not self._settings.shares_queues and not any(hook.receivers for hook in hooks)

    def _push(self, app: Celery, producer: Any, tasks: Sequence[NewTask], templates: Templates) -> bool:
        """Send messages made from templates by one command for each list; return False if one cannot be made so."""
        lists = templates.lists(tasks, producer, functools.partial(self._send, app, producer, retry=False))
        if lists is None:
            return False
        for queue in {task.queue for task in tasks}:
            producer.maybe_declare(app.amqp.queues[queue])
        with producer.channel.client.pipeline(transaction=False) as pipeline:
            for key, messages in lists.items():
                for start in range(0, len(messages), PIPELINED):
                    pipeline.lpush(key, *messages[start : start + PIPELINED])
            pipeline.execute()
        return True

    def broker_id(self, transport: Transport = ()) -> str:
        """Return the id of the broker; see :func:`broker_id`.

        Raises:
            OperationalError: the broker does not answer, or refuses.
        """
        return broker_id(self._app_for(transport))

    def close(self) -> None:
        """Close the broker connections."""
        for app in list(self._apps.values()):
            # kombu keeps one pool a process for each broker address. If it were only emptied, the next dispatcher
            # would wait for a connection for ever.
            pool = app.pool
            pool.force_close_all(close_pool=False)
            pool.setup()
            app.close()

    def _app_for(self, transport: Transport) -> Celery:
        # Two threads may make one each: one of them is kept, and kombu's pools are the same.
        app = self._apps.get(transport) or self._make_app(transport)
        return self._apps.setdefault(transport, app)

    def _make_app(self, transport: Transport) -> Celery:
        # An app without task functions and backend, which does not become the current app of the process.
        app = Celery("gql_api.dispatch", set_as_current=False)
        # Not by ``result_backend``: an environment variable of Celery's would take precedence over it.
        app.backend_cls = "disabled"
        app.conf.update(
            protocol_config(self._settings),
            broker_connection_timeout=_CONNECT_SECONDS,
            broker_transport_options={
                "socket_connect_timeout": _CONNECT_SECONDS,
                "socket_timeout": self._settings.store_timeout_seconds,
                **dict(transport),
                **PRIORITY_STEPS,
                # As kombu's producer adds it to them when it retries.
                **_RETRY_POLICY,
            },
            task_publish_retry_policy=_RETRY_POLICY,
        )
        return app

    def _send(self, app: Celery, producer: Any, task: NewTask, *, retry: bool, **texts: str) -> None:
        message = message_of(app, task, with_expiry=self._settings.shares_queues, **texts)
        name = message.headers["task"]
        app.amqp.send_task_message(producer, name, message, queue=task.queue, priority=task.priority, retry=retry)
