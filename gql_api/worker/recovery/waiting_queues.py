"""The queues in which tasks wait, found by their heads in an index: a queue of millions takes as long as one of ten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import bson
from bson.codec_options import DatetimeConversion
from bson.errors import InvalidBSON
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from gql_api.record import due
from gql_api.record.reads import CODEC, Document

# The code of the error that the index in a hint does not exist.
_NO_SUCH_INDEX = 2
# A head is found by one of so many keys, or by a seek behind all of them. Where all of them were heads, more are read.
_KEYS = 20
_MAX_KEYS = 1_000
# The search goes on behind the last key that it has read, which therefore must not be changed by reading it.
_EXACT = CODEC.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="strict")


def waiting_queues(tasks: Collection[Document], time: datetime, names: list[str], max_seconds: int) -> list[Document]:
    """Return the rows of :func:`due.queues_waiting`.

    While the index does not exist yet, all waiting tasks are grouped for that.

    Raises:
        ExecutionTimeout: MongoDB took longer than ``max_seconds``.
    """
    milliseconds = 1000 * max_seconds
    try:
        return _by_heads(tasks, time, names, milliseconds)
    except InvalidBSON:
        pass  # a text that is not UTF-8
    except OperationFailure as error:
        if error.code != _NO_SUCH_INDEX:
            raise
    return list(tasks.aggregate(due.queues_waiting(time, names), maxTimeMS=milliseconds))


def _by_heads(tasks: Collection[Document], time: datetime, names: list[str], milliseconds: int) -> list[Document]:
    known, rows = frozenset(names), dict[bytes, Document]()
    for queue, name, first in _heads(tasks.with_options(codec_options=_EXACT), milliseconds):
        if not isinstance(name, str) or name not in known:
            continue
        # Values that the grouping leaves out may come before the times, and so may times that Python does not have.
        oldest = first if isinstance(first, datetime) else _oldest(tasks, queue, time, name, milliseconds)
        if oldest is not None and oldest < time:
            row, identity = due.row_of(queue, oldest), bson.encode(queue)
            rows[identity] = min(rows.get(identity, row), row, key=due.due_at_from)
    return list(rows.values())


def _oldest(
    tasks: Collection[Document], queue: Document, time: datetime, name: str, milliseconds: int
) -> datetime | None:
    filter_ = due.queued_in_group(due.row_of(queue, time), time, [name])
    found = tasks.find_one(filter_, due.DUE_AT_ONLY, sort=due.BY_DUE_AT, max_time_ms=milliseconds)
    return None if found is None else due.due_at_from(found)


def _heads(tasks: Collection[Document], milliseconds: int) -> Iterator[tuple[Document, Any, Any]]:
    """Yield each queue with its priority, each name in it, and the due time of the first of these tasks."""
    after, number, last = None, _KEYS, b""
    while True:
        keys = list(tasks.find(**due.keys_waiting(after, number), max_time_ms=milliseconds))
        heads = 0
        for key in keys:
            queue, name, oldest = due.head_from(key)
            # Not the values: in Python, but not in MongoDB, 1 and True are equal.
            group = bson.encode({**queue, "": name})
            if group != last:
                yield queue, name, oldest
                last, heads = group, heads + 1
        if len(keys) < number:
            return
        after, number = keys[-1], min(2 * number, _MAX_KEYS) if heads == len(keys) else _KEYS
