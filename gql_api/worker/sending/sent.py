"""Notes of which messages the broker has, while stock workers take some of them without a claim.

A message that has left its queue is then either a stock worker's or was never sent, and only a note tells which.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pymongo.errors import PyMongoError

from gql_api.record import due
from gql_api.record.writes import Write

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend

logger = logging.getLogger(__name__)


def unsent(backend: Backend, write: Write) -> Write:
    """Return a write, after which a message of its task is sent, with the note that the message is not sent yet."""
    return write if backend.stock is None else due.unsent(write)


def note_sent(backend: Backend, attempts: Mapping[str, int]) -> None:
    """Note that the broker has the messages of some tasks, which follow so many attempts of each."""
    if backend.stock is None:
        return
    by_attempts: dict[int, list[str]] = defaultdict(list)
    for task_id, number in attempts.items():
        by_attempts[number].append(task_id)
    try:
        for number, task_ids in by_attempts.items():
            backend.store.note(due.sent(task_ids, number))
    except PyMongoError as error:
        logger.warning(
            "%d tasks are sent, and perhaps sent again, for that could not be noted: %s", len(attempts), error
        )
