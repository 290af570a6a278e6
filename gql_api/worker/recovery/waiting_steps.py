"""Later steps of chains, and bodies of chords, that wait for something that has ended without sending them.

Otherwise the worker that ends a task ends what follows it too. It may die, or lose its connection, between the two.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gql_api.record import canvas, control, due, fields, queries
from gql_api.record.fields import Status, WaitsKind
from gql_api.record.fitness import rules
from gql_api.record.model import ErrorInfo
from gql_api.record.past import tombstones
from gql_api.worker.backend.backend import Backend
from gql_api.worker.backend.unsent_steps import CHAIN_ENDED
from gql_api.worker.recovery import leader_lock

if TYPE_CHECKING:
    from gql_api.record.reads import TaskRecord
    from gql_api.worker.recovery.misfits import Misfits

logger = logging.getLogger(__name__)

_LOCK = "waiting steps"
_BATCH = 500
# The next sweep goes on behind them.
_MAX_BATCHES = 10
_END = queries.Part.of(["error", "finished_at", "stored_history"])


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The end of those steps of some kinds that wait for one task or chord."""

    step_id: str
    status: Status
    error: ErrorInfo | None
    kinds: list[WaitsKind]
    actor: str | None = None


class WaitingSteps:
    """The search of one worker for such steps. One worker at a time searches, once per lease."""

    def __init__(self, backend: Backend, misfits: Misfits) -> None:
        self._backend = backend
        self._misfits = misfits
        self._lease = timedelta(seconds=backend.settings.lease_seconds)
        self._after = ""

    def sweep(self, now: datetime) -> None:
        """End steps that have waited for longer than a lease, if what they wait for ended before that.

        A task sends its next step before its success is stored, so such a step is not just being sent.
        """
        # Stock workers may run steps without a change of their records.
        if self._backend.stock is not None or not leader_lock.take(self._backend, _LOCK, now, self._lease):
            return
        before = now - self._lease
        for _ in range(_MAX_BATCHES):
            query = rules.fitting(canvas.waiting_since(before, self._after))
            found = self._backend.collection.find(query, canvas.WAIT_ONLY).sort(canvas.WAIT_ORDER).limit(_BATCH)
            waits = list(map(canvas.wait_from, found))
            for verdict in self._verdicts(waits, before):
                self._end(verdict, before)
            self._after = waits[-1].step_id if len(waits) == _BATCH else ""
            if not self._after:
                return

    def _verdicts(self, waits: list[canvas.Wait], before: datetime) -> Iterator[_Verdict]:
        task_ids = list({wait.step_id for wait in waits if not wait.is_chord})
        if task_ids:
            found = list(self._backend.collection.find(queries.by_ids(task_ids), _END.projection))
            for record in map(_END.record, filter(_fits, found)):
                if record.is_final and record.finished_at is not None and record.finished_at < before:
                    yield _verdict(record)
            known = {document[fields.ID] for document in found}
            yield from self._verdicts_on_deleted([task_id for task_id in task_ids if task_id not in known], before)
        chord_ids = list({wait.step_id for wait in waits if wait.is_chord})
        if chord_ids:
            # A chord exists before its body waits for it, and is deleted some time after it was done.
            going_on = self._backend.database[fields.CHORDS].find(canvas.going_on(chord_ids, before), queries.ID_ONLY)
            for chord_id in set(chord_ids) - {document[fields.ID] for document in going_on}:
                yield _revoked(chord_id, f"chord {chord_id} has ended without it", WaitsKind.CHORD)

    def _verdicts_on_deleted(self, task_ids: list[str], before: datetime) -> Iterator[_Verdict]:
        # A task without a tombstone may be a step that could not be recorded yet, and is when it is sent.
        found = self._backend.database[fields.TOMBSTONES].find(tombstones.tombstones_of(task_ids))
        for task_id, deleted_at in map(tombstones.tombstone_from, found):
            if deleted_at < before:
                yield _revoked(task_id, f"task {task_id} was deleted", WaitsKind.NEXT)

    def _end(self, verdict: _Verdict, before: datetime) -> None:
        """End the steps of a verdict, and all that would have followed them, in the same way."""
        found = self._backend.store.ids(canvas.waiting_for(verdict.step_id, verdict.kinds, before))
        ended = 0
        while found:
            taken = self._take(found, verdict)
            ended += len(taken)
            found = self._backend.store.ids(canvas.waiting_after([record.id for record in taken]))
        if ended:
            logger.warning("%d later steps waited for %s, which has ended, and are ended", ended, verdict.step_id)

    def _take(self, ids: list[str], verdict: _Verdict) -> list[TaskRecord]:
        token = uuid.uuid4().hex
        return self._misfits.take(
            ids,
            lambda some: canvas.end_waiting(some, verdict.error, verdict.status, token, actor=verdict.actor),
            due.taken(ids, token, verdict.status),
        )


def _fits(document: dict[str, object]) -> bool:
    return _END.fitness.first_misfit(document) is None


def _verdict(record: TaskRecord) -> _Verdict:
    if record.status is Status.SUCCESS:
        return _revoked(record.id, CHAIN_ENDED.format(record.id), WaitsKind.NEXT)
    return _Verdict(record.id, record.status, record.error, [WaitsKind.NEXT, WaitsKind.LATER], record.revoked_by)


def _revoked(step_id: str, reason: str, kind: WaitsKind) -> _Verdict:
    return _Verdict(step_id, Status.REVOKED, control.revoked_error(reason), [kind])
