"""Messages that no Celery program sends: mutations of a valid one."""

from __future__ import annotations

import base64
import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]
# A path in a message, with slashes, and its new value.
Change = tuple[str, Any]

_DEEP = 100_000
_MISSING = object()
# More digits than Python converts.
_HUGE = int("9" * 4000)
_WRONG = [None, True, 1, _HUGE, 1.5, "x", "", "\0", "\ud800", [], [1], {}, {"a": 1}, {"__type__": "x", "__value__": 1}]


def valid(task_id: str, name: str, queue: str = "celery", **headers: Any) -> Message:
    """Return a message as Celery's producer makes it."""
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return {
        "body": encoded([["canary"], {"seconds": 0}, embed]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py", "task": name, "id": task_id, "shadow": None, "eta": None, "expires": None, "group": None,
            "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": task_id, "parent_id": None,
            "argsrepr": "()", "kwargsrepr": "{}", "origin": "test", "ignore_result": False, "stamped_headers": None,
            "stamps": {}, **headers,
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": str(uuid.uuid4()),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }  # fmt: skip


def encoded(body: Any) -> str:
    """Return the body of a message."""
    return encoded_text(json.dumps(body))


def encoded_text(text: str) -> str:
    """Return a text as the body of a message."""
    return base64.b64encode(text.encode()).decode()


def not_messages() -> Iterator[bytes]:
    """Yield contents of a queue that are no messages at all."""
    yield from (b"", b"null", b"no JSON", b"[]", b'"text"', b"1", b"NaN", b"\xff\xfe", b"{", b"{}", b"\0")
    yield b"[" * _DEEP
    yield b'{"a":' * _DEEP
    yield b"9" * 5000
    yield b'{"properties": {"__type__": "uuid", "__value__": 1}}'


def malformed(name: str, queue: str) -> Iterator[tuple[str, bytes]]:
    """Yield messages that are wrong in one place each, with the ids of their tasks."""
    for path, value in (*_wrong_envelopes(), *_wrong_bodies(), *_wrong_headers()):
        task_id = str(uuid.uuid4())
        message = valid(task_id, name, queue)
        part: Any = message
        *parents, key = path.split("/")
        for parent in parents:
            part = part[parent]
        if value is _MISSING:
            del part[key]
        else:
            part[key] = value
        yield task_id, json.dumps(message).encode()


def _each(paths: str, *values: Any) -> Iterator[Change]:
    """Yield a change to each of some values at each of some paths."""
    return itertools.product(paths.split(), values)


def _wrong_envelopes() -> Iterator[Change]:
    yield from _each("properties headers body", _MISSING, *_WRONG)
    yield from _each("properties/delivery_tag properties/delivery_info", _MISSING, [1], {}, None, _HUGE)
    yield from _each(
        "properties/body_encoding properties/priority properties/reply_to properties/correlation_id", {"a": 1}
    )
    yield from _each("properties/delivery_info/exchange properties/delivery_info/routing_key", _MISSING, [1])
    yield from _each("content-type", "application/x-python-serialize", "application/unknown", 1, ["a"], None)
    yield from _each("content-encoding", 1, ["a"])


def _wrong_bodies() -> Iterator[Change]:
    bodies: list[Any] = [
        *_WRONG, [[], {}], [[], {}, {}, {}], ["args", {}, {}], [{}, {}, {}], [[], [], {}], [1, 2, 3], [[], {}, [1]],
        [[], {}, {"chord": [1]}], [[], {}, {"chord": 1}], [[], {}, {"chain": 1}], [[], {}, {"chain": [1]}],
        [[], {}, {"callbacks": [1]}], [[], {}, {"callbacks": {"a": 1}}], [[], {}, {"errbacks": [[]]}],
        [[], {}, {"chord": {"task": 1}}], [[], {}, {"callbacks": [{"task": "a", "options": 1}]}], {"args": 1},
        {"args": [], "kwargs": 1},
    ]  # fmt: skip
    texts = ["[" * _DEEP, "{", "[[], {}, {}] more", "9" * 5000]
    yield from _each("body", *map(encoded, bodies), *map(encoded_text, texts))
    # Neither Base64, nor JSON: a pickled number.
    yield from _each("body", "no base64 !", "A", base64.b64encode(b"\x80\x04K\x01.").decode())


def _wrong_headers() -> Iterator[Change]:
    names: Any = (_MISSING, None, _HUGE, [], [1], {}, {"a": 1}, "", "\ud800", "x" * 1_000_000, True)
    yield from _each("headers/id headers/task", *names)
    texts = "headers/root_id headers/parent_id headers/group headers/shadow headers/argsrepr headers/kwargsrepr"
    yield from _each(texts, [1], {"a": 1}, "\ud800")
    times = ("x", 1, [1], {"a": 1}, "9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00")
    yield from _each("headers/eta headers/expires", *times)
    limits: list[Any] = ["x", [1], [1, 2, 3], ["a", None], {"a": 1}, [_HUGE, None], [-1, None], [{}, {}]]
    yield from _each("headers/timelimit", *limits)
    counts = "headers/retries headers/gql_api_attempts headers/replaced_task_nesting headers/gql_api_hops"
    yield from _each(counts, "x", -1, _HUGE, [1], {"a": 1})
    yield from _each("headers/stamped_headers headers/stamps", 1, [1])
    yield from _each("headers/compression", "unknown", [1], "application/x-gzip")
