"""What a worker reads before it relies on it."""

from __future__ import annotations

import pytest
from pymongo.errors import AutoReconnect

from gql_api.record import claims, writes
from gql_api.record.model import Claim
from gql_api.worker.store.tasks import Store


def test_what_was_read_is_confirmed_as_long_as_it_holds(worker: Store, task_id: str) -> None:
    """A caller that found its own write starts again when the record has changed in the meantime."""
    worker.change(claims.claim(task_id, Claim(token="mine", worker="w", run="r", pid=1, lease_seconds=60)))  # noqa: S106 - of a claim
    seen = worker.find(task_id)
    assert seen is not None
    worker.note(claims.extend_lease(task_id, 1, 60))
    assert worker.confirm(seen) is seen
    assert worker.change(writes.succeed(task_id, 1))
    with pytest.raises(AutoReconnect):
        worker.confirm(seen)
