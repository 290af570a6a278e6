"""Finished tasks are deleted when they have been kept long enough."""

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
# A look at all that waits comes round again: a large heap goes little by little.
_MAX_BATCHES = 4


def sweep(backend: Backend, now: datetime) -> None:
    """Delete tasks whose end is longer ago than ``RETENTION_DAYS``, oldest first, and announce each."""
    days = backend.settings.retention_days
    if not days:
        return
    for _ in range(_MAX_BATCHES):
        found = backend.collection.find(control.outlived(now, days), queries.ID_ONLY).sort(OLDEST_FIRST.sort())
        ids = [document[fields.ID] for document in found.limit(_BATCH)]
        backend.store.delete(ids)
        if len(ids) < _BATCH:
            return
    logger.info("More finished tasks than can be deleted at a time are older than %g days", days)
