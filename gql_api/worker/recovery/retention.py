"""The deletion of finished tasks that are older than the retention time."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from gql_api.query.lists import OLDEST_FIRST, PageRequest, Position
from gql_api.record import control, queries
from gql_api.record.fitness import rules
from gql_api.record.reads import TaskRecord

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend

logger = logging.getLogger(__name__)

_BATCH = 500
# Recovery calls again: a large number of tasks is deleted little by little.
_MAX_BATCHES = 4


class Retention:
    """The deletion by one worker, which goes on where it stopped.

    The oldest tasks may be members of unfinished chords. They stay, however many they are.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._last: Position | None = None

    def sweep(self, now: datetime) -> None:
        """Delete tasks that ended more than ``RETENTION_DAYS`` ago, oldest first, and announce each."""
        days = self._backend.settings.retention_days
        if not days:
            return
        for _ in range(_MAX_BATCHES):
            page = PageRequest(OLDEST_FIRST, _BATCH, after=self._last)
            query = rules.fitting({"$and": [control.outlived(now, days), page.query()]})
            found = self._backend.collection.find(query, queries.POSITION_ONLY).sort(page.sort()).limit(page.limit)
            records = [TaskRecord(document) for document in found]
            self._backend.store.delete([record.id for record in records])
            if len(records) < page.limit:
                self._last = None
                return
            self._last = Position.of(records[-1], OLDEST_FIRST)
        logger.info("More finished tasks than can be deleted at a time are older than %g days", days)
