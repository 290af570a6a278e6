"""The deletion of finished tasks that are older than the retention time."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from gql_api.query.lists import OLDEST_FIRST
from gql_api.record import control, fields, queries

if TYPE_CHECKING:
    from gql_api.worker.backend.backend import Backend

logger = logging.getLogger(__name__)

_BATCH = 500
# Recovery calls again: a large number of tasks is deleted little by little.
_MAX_BATCHES = 4


def sweep(backend: Backend, now: datetime) -> None:
    """Delete tasks that ended more than ``RETENTION_DAYS`` ago, oldest first, and announce each."""
    days = backend.settings.retention_days
    if not days:
        return
    kept: set[str] = set()
    for _ in range(_MAX_BATCHES):
        outlived = {**control.outlived(now, days), fields.ID: {"$nin": sorted(kept)}}
        found = backend.collection.find(outlived, queries.ID_ONLY).sort(OLDEST_FIRST.sort())
        ids = [document[fields.ID] for document in found.limit(_BATCH)]
        # Members of an unfinished chord stay until it is done.
        kept.update({*ids} - {*backend.store.delete(ids)})
        if len(ids) < _BATCH:
            return
    logger.info("More finished tasks than can be deleted at a time are older than %g days", days)
