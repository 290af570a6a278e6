"""The messages of tasks from templates: Celery and kombu make one of each kind, and the others differ in few places."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from kombu.utils.json import JSONEncoder

from gql_api.messages.argument_texts import MAX_LENGTH, cut_text_of, text_of, texts_of
from gql_api.record.model import MessageParts, NewTask

_PLACE = f"place-{uuid.uuid4().hex}"
_ID, _ROOT, _PARENT, _ARGS, _KWARGS = (f"{_PLACE}-{name}" for name in ("id", "root", "parent", "args", "kwargs"))
_BODY, _TAG = "body", "tag"
# A text of more arguments than these takes longer to make than to cut.
_MAX_SHORT = 4 * MAX_LENGTH
_MAX_TEMPLATES = 1_000
_NO_ARGUMENTS = "[[], {}, "
_UNKNOWN: Any = object()
# With the defaults of kombu's ``dumps``.
_encode = JSONEncoder().encode


class Send(Protocol):
    """A function that sends the message of a task by Celery's own code, with these texts for its arguments."""

    def __call__(self, task: NewTask, /, *, argsrepr: str, kwargsrepr: str) -> None:
        """Send it."""
        ...


class _Recorder:
    """A batch of kombu's producer that keeps the commands of a message, and sends none."""

    def __init__(self) -> None:
        self.message: Any = None
        self.commands: list[tuple[str, tuple[Any, ...]]] = []

    def publish(self, channel: Any, message: Any, **options: Any) -> None:
        """Route a message as kombu does, which completes it."""
        self.message = message
        channel.basic_publish(message, _publish_batch=self, **options)

    def add(self, name: str, *args: Any) -> None:
        """Keep a command."""
        self.commands.append((name, args))


@dataclass(frozen=True, slots=True)
class _Template:
    """The message of a kind of task: the list in Redis, the texts around what differs, and what comes between them."""

    key: str
    texts: tuple[str, ...]
    places: tuple[str, ...]
    body_end: str

    def message(self, task: NewTask, tag: str) -> str:
        """Return the message of a task of this kind."""
        arguments = _encode([task.args, task.kwargs])
        body = f"{arguments[:-1]}, {self.body_end}"
        args_text, kwargs_text = _texts(task, is_short=len(arguments) <= _MAX_SHORT)
        values = {
            _ID: json.dumps(task.id),
            _ROOT: json.dumps(task.root_id or task.id),
            _PARENT: json.dumps(task.parent_id),
            _ARGS: json.dumps(args_text),
            _KWARGS: json.dumps(kwargs_text),
            _BODY: f'"{base64.b64encode(body.encode()).decode()}"',
            _TAG: f'"{tag}"',
        }
        filled = [part for text, place in zip(self.texts, self.places, strict=False) for part in (text, values[place])]
        return "".join([*filled, self.texts[-1]])


def _texts(task: NewTask, *, is_short: bool) -> tuple[str, str]:
    """Return the texts that Celery shows for the arguments of a task."""
    if task.shown is not None:
        shown = texts_of(task.shown)
        return shown["argsrepr"], shown["kwargsrepr"]
    # Celery takes an empty tuple for no arguments.
    args, kwargs = task.args or (), task.kwargs
    if is_short:
        return text_of(args), text_of(kwargs)
    return cut_text_of(args), cut_text_of(kwargs)


class Templates:
    """The templates of an application, which are made when they are needed. Thread-safe."""

    def __init__(self) -> None:
        self._templates: dict[Any, _Template | None] = {}

    def lists(self, tasks: Sequence[NewTask], producer: Any, send: Send) -> dict[str, list[str]] | None:
        """Return the messages of tasks by the list in Redis that each is pushed to, in order.

        Args:
            tasks: the tasks.
            producer: sends messages by the same options.
            send: sends by this producer.

        Returns:
            None if a message is not one of a template, or the broker is not Redis.
        """
        return _lists(tasks, lambda task: self._template(task, producer, send))

    def known_lists(self, tasks: Sequence[NewTask]) -> dict[str, list[str]] | None:
        """Return the same as :meth:`lists`, without Celery and kombu; None if a template is not known."""
        return _lists(tasks, lambda task: self._templates.get(_kind(task)))

    def _template(self, task: NewTask, producer: Any, send: Send) -> _Template | None:
        kind = _kind(task)
        known: _Template | None = self._templates.get(kind, _UNKNOWN)
        if known is not _UNKNOWN:
            return known
        if len(self._templates) >= _MAX_TEMPLATES:
            self._templates.clear()
        made = self._templates[kind] = _make(task, producer, send)
        return made


def _lists(tasks: Sequence[NewTask], template_of: Callable[[NewTask], _Template | None]) -> dict[str, list[str]] | None:
    lists: dict[str, list[str]] = {}
    for task in tasks:
        template = template_of(task) if _is_ordinary(task) else None
        if template is None:
            return None
        lists.setdefault(template.key, []).append(template.message(task, str(uuid.uuid4())))
    return lists


def _kind(task: NewTask) -> tuple[object, ...]:
    headers = {} if task.message is None else task.message.headers
    return task.name, task.queue, task.priority, task.attempts, task.parent_id is None, repr(headers)


def _is_ordinary(task: NewTask) -> bool:
    parts = task.message
    return parts is None or parts == MessageParts(headers=parts.headers)


def _make(task: NewTask, producer: Any, send: Send) -> _Template | None:
    """Let Celery make the message of a task like this one, and return what is the same in all of them."""
    example = replace(
        task,
        id=_ID,
        root_id=_ROOT,
        parent_id=None if task.parent_id is None else _PARENT,
        args=[],
        kwargs={},
    )
    recorder, batches = _Recorder(), producer._batch_local  # noqa: SLF001 - where kombu's producer finds its batch
    batches.current = recorder
    try:
        send(example, argsrepr=_ARGS, kwargsrepr=_KWARGS)
    finally:
        del batches.current
    if [name for name, _ in recorder.commands] != ["lpush"]:
        return None
    ((_, (key, text)),) = recorder.commands
    body, tag = recorder.message["body"], recorder.message["properties"]["delivery_tag"]
    # A compressed body is no text.
    body_text = base64.b64decode(body).decode(errors="replace")
    if not body_text.startswith(_NO_ARGUMENTS):
        return None
    places = {_ID: _ID, _ROOT: _ROOT, _PARENT: _PARENT, _ARGS: _ARGS, _KWARGS: _KWARGS, body: _BODY, tag: _TAG}
    parts = re.split(f'"({"|".join(map(re.escape, places))})"', text)
    return _Template(
        key, tuple(parts[::2]), tuple(places[part] for part in parts[1::2]), body_text.removeprefix(_NO_ARGUMENTS)
    )
