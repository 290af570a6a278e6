"""Move a message that a worker has received to the end of its queue, in one step of Redis."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gql_api.worker.backend.messages import HOPS_HEADER, SENT_AT_HEADER

if TYPE_CHECKING:
    from collections.abc import Container
    from datetime import datetime

# Move a message: only if it is unacknowledged yet, and it is in Redis at each moment. KEYS: unacknowledged messages,
# the index of those, the queue. ARGV: the delivery tag, the new message.
_MOVE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
    redis.call('LPUSH', KEYS[3], ARGV[2])
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.call('ZREM', KEYS[2], ARGV[1])
end
"""


def move_to_end(pipeline: Any, channel: Any, message: Any, consumed: Container[str], sent_at: datetime | None) -> None:
    """Add the move of a message to a Redis pipeline. Nothing moves if the message has been acknowledged.

    ``consumed`` has the names of the queues that the worker consumes, ``sent_at`` the time of this sending.
    """
    raw, queue = message._raw, _queue_of(channel, message, consumed)  # noqa: SLF001 - the message as kombu stores it
    properties = {
        **raw["properties"],
        "delivery_info": {**message.delivery_info, "exchange": "", "routing_key": queue},
        # This worker may receive it again before it has released the first one.
        "delivery_tag": str(uuid.uuid4()),
    }
    moved = json.dumps({**raw, "headers": _headers(message, sent_at), "properties": properties})
    priority = channel._get_message_priority(raw)  # noqa: SLF001 - kombu's name
    keys = (channel.unacked_key, channel.unacked_index_key, channel._q_for_pri(queue, priority))  # noqa: SLF001 - kombu's key
    # kombu's own prefixing leaves this command out.
    prefixed = [f"{channel.global_keyprefix}{key}" for key in keys]
    pipeline.eval(_MOVE, len(prefixed), *prefixed, message.delivery_tag, moved)


def is_broadcast(message: Any) -> bool:
    """Return whether each worker has received a copy of its own."""
    return bool(message.channel.typeof(message.delivery_info["exchange"]).type == "fanout")


def hops_of(message: Any) -> int:
    """Return how often workers have moved a message."""
    hops = message.headers.get(HOPS_HEADER)
    return hops if isinstance(hops, int) and hops > 0 else 0


def task_id_of(message: Any) -> str | None:
    """Return the task id of a message in either version of Celery's protocol, None for one without."""
    task_id = message.headers.get("id")
    if task_id is None and "task" not in message.headers and isinstance(message.payload, Mapping):
        # The first version of Celery's messages has the id in its body, which is decoded by now.
        task_id = message.payload.get("id")
    return None if task_id is None else str(task_id)


def _queue_of(channel: Any, message: Any, consumed: Container[str]) -> str:
    """Return the queue that a message came from."""
    exchange, routing_key = message.delivery_info["exchange"], message.delivery_info["routing_key"]
    queues: list[str] = channel._lookup(exchange, routing_key)  # noqa: SLF001 - kombu restores messages by it
    possible = [*queues, str(routing_key)]
    return next((queue for queue in possible if queue in consumed), possible[0])


def _headers(message: Any, sent_at: datetime | None) -> dict[str, Any]:
    """Return all headers of a message, with this hop, and with the time of this sending instead of an earlier one."""
    headers = {**message.headers, HOPS_HEADER: hops_of(message) + 1}
    headers.pop(SENT_AT_HEADER, None)
    return headers if sent_at is None else {**headers, SENT_AT_HEADER: sent_at.isoformat()}
