"""Commands on all tasks that match a filter: cancel, replay or delete them in batches, the oldest first."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from gql_api import values
from gql_api.access.principal import Principal
from gql_api.access.visibility import EVERYTHING
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.control import ReplayOverrides, replay_input
from gql_api.api.commands.create import Creation, Creator
from gql_api.api.errors import MutationRefusedError, Refusal, TaskErrorCode
from gql_api.api.store.tasks import TaskStore
from gql_api.query.lists import OLDEST_FIRST, PageRequest, Position
from gql_api.record import bulk, queries
from gql_api.record.bulk import Action
from gql_api.record.fitness import rules
from gql_api.record.reads import Document, TaskRecord

# In one call.
MAX_TASKS = 10_000
_BATCH = 500
# Replays read whole records, arguments included.
_REPLAY_BATCH = 100
# The id of a replay by a bulk call is derived from the id of its task, so that a repeated call finds the replay.
_REPLAYS = uuid.UUID("0b9b4cde-6f6c-4f38-8d0e-3f1f2f5a9c11")


@dataclass
class Outcome:
    """The result of a bulk call: the matching tasks, the changed ones, and why some could not be changed."""

    matched: int = 0
    changed: int = 0
    refusals: list[Refusal] = field(default_factory=list)


class Bulk:
    """A runner of actions on many tasks, by conditional writes: an action is never applied twice to a task."""

    def __init__(self, store: TaskStore, changes: Changes, creator: Creator) -> None:
        self._store = store
        self._changes = changes
        self._creator = creator

    async def run(self, action: Action, query: Document, principal: Principal, *, dry_run: bool) -> Outcome:
        """Count the visible tasks that match a query, and apply an action to the oldest of them unless it is a dry run.

        Tasks that are created after the call began are left out.

        Raises:
            ClientError: finding the tasks takes too long.
            QuotaExceededError: replays exceed a quota of the caller. Those of the batches before exist.
        """
        # One record that does not fit would fail the write of all.
        matching = rules.fitting(bulk.matched(action, query, await self._store.now()))
        outcome = Outcome(await self._store.lists.count(matching, principal.visibility))
        if not dry_run:
            async for records in self._batches(action, matching, principal):
                await self._apply(action, records, matching, principal, outcome)
        return outcome

    async def _batches(
        self, action: Action, matching: Document, principal: Principal
    ) -> AsyncIterator[list[TaskRecord]]:
        # Each batch of replays is within the caller's quotas as a whole, or not.
        replays = min(_REPLAY_BATCH, self._creator.quotas.max_at_once(principal))
        size, fields = (replays, None) if action is Action.REPLAY else (_BATCH, queries.POSITION_ONLY)
        after = None
        for _ in range(0, MAX_TASKS, size):
            records = await self._store.lists.page(
                matching, PageRequest(OLDEST_FIRST, size, after), principal.visibility, fields
            )
            if records:
                yield records
                after = Position.of(records[-1], OLDEST_FIRST)
            if len(records) < size:
                return

    async def _apply(
        self, action: Action, records: list[TaskRecord], matching: Document, principal: Principal, outcome: Outcome
    ) -> None:
        ids = [record.id for record in records]
        if action is Action.CANCEL:
            revisions = {record.id: record.revision for record in records}
            outcome.changed += await self._changes.apply_many(
                bulk.cancel(ids, matching, principal.subject), revisions, principal.visibility
            )
        elif action is Action.DELETE:
            outcome.changed += await self._changes.delete(ids, principal.visibility)
        else:
            await self._replay(records, principal, outcome)

    async def _replay(self, records: Sequence[TaskRecord], principal: Principal, outcome: Outcome) -> None:
        """Replay tasks, except those whose replay exists: a call that died midway may have created it."""
        new_ids = {record.id: str(uuid.uuid5(_REPLAYS, record.id)) for record in records}
        existing = await self._store.revisions(list(new_ids.values()), EVERYTHING)
        todo = [record for record in records if new_ids[record.id] not in existing]
        inputs = [replay_input(record, ReplayOverrides(), new_ids[record.id]) for record in todo]
        outcomes = await self._creator.create_many(inputs, principal)
        refused = {
            record.id: each
            for record, each in zip(todo, outcomes, strict=True)
            if isinstance(each, MutationRefusedError)
        }
        await self._store.change_many(
            [bulk.mark_replayed([record.id for record in records if record.id not in refused])], principal.visibility
        )
        outcome.changed += sum(isinstance(each, Creation) and each.created for each in outcomes)
        for task_id, error in refused.items():
            if len(outcome.refusals) < values.MAX_PROBLEMS:
                message = f"Task {task_id} cannot be replayed: {error}"
                outcome.refusals.append(Refusal(TaskErrorCode.INVALID_INPUT, message))
