"""What a caller may do to all tasks that a filter finds: cancel, replay or delete them, the oldest first, in turn."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from gql_api import values
from gql_api.api.commands.changes import Changes
from gql_api.api.commands.control import Replay, replayed
from gql_api.api.commands.create import Creation, Creator
from gql_api.api.errors import RefusedError, TaskErrorCode, UserError
from gql_api.api.store.tasks import TaskStore
from gql_api.query.lists import OLDEST_FIRST, PageRequest, Position
from gql_api.record import bulk, queries
from gql_api.record.bulk import Action
from gql_api.record.reads import Document, TaskRecord

# In one call.
MAX_TASKS = 10_000
_BATCH = 500
# Replays are read and made whole, arguments and all.
_REPLAY_BATCH = 100
# The replay of a task by a call for many has an id that follows from the task's: repeated, the call finds it.
_REPLAYS = uuid.UUID("0b9b4cde-6f6c-4f38-8d0e-3f1f2f5a9c11")


@dataclass
class Outcome:
    """How many tasks matched, how many of them were changed, and why some could not be."""

    matched: int = 0
    changed: int = 0
    errors: list[UserError] = field(default_factory=list)


class Bulk:
    """Does it by conditional writes over a batch each. What was done to a task is not done to it again."""

    def __init__(self, store: TaskStore, changes: Changes, creator: Creator) -> None:
        self._store = store
        self._changes = changes
        self._creator = creator

    async def run(self, action: Action, wanted: Document, *, dry_run: bool) -> Outcome:
        """Count the tasks that a query finds, and unless it is a dry run do something to the oldest of them.

        Only tasks that were created before the call are meant.

        Raises:
            ClientError: to find them takes too long.
        """
        matching = bulk.matched(action, wanted, await self._store.now())
        outcome = Outcome(await self._store.lists.count(matching))
        if not dry_run:
            async for records in self._batches(action, matching):
                await self._do(action, records, matching, outcome)
        return outcome

    async def _batches(self, action: Action, matching: Document) -> AsyncIterator[list[TaskRecord]]:
        size, fields = (_REPLAY_BATCH, None) if action is Action.REPLAY else (_BATCH, queries.POSITION_ONLY)
        after = None
        for _ in range(0, MAX_TASKS, size):
            records = await self._store.lists.page(matching, PageRequest(OLDEST_FIRST, size, after), fields)
            if records:
                yield records
                after = Position.of(records[-1], OLDEST_FIRST)
            if len(records) < size:
                return

    async def _do(self, action: Action, records: list[TaskRecord], matching: Document, outcome: Outcome) -> None:
        ids = [record.id for record in records]
        if action is Action.CANCEL:
            revisions = {record.id: record.revision for record in records}
            outcome.changed += await self._changes.make_many(bulk.cancel(ids, matching), revisions)
        elif action is Action.DELETE:
            outcome.changed += await self._changes.delete(ids)
        else:
            await self._replay(records, outcome)

    async def _replay(self, records: Sequence[TaskRecord], outcome: Outcome) -> None:
        """Repeat some tasks. A call that died between a replay and its mark has left the replay: it is found here."""
        new_ids = {record.id: str(uuid.uuid5(_REPLAYS, record.id)) for record in records}
        there = await self._store.revisions(list(new_ids.values()))
        todo = [record for record in records if new_ids[record.id] not in there]
        made = await self._creator.create_many([replayed(record, Replay(), new_ids[record.id]) for record in todo])
        refused = {record.id: each for record, each in zip(todo, made, strict=True) if isinstance(each, RefusedError)}
        await self._store.change_many(
            [bulk.mark_replayed([record.id for record in records if record.id not in refused])]
        )
        outcome.changed += sum(isinstance(each, Creation) and each.created for each in made)
        for task_id, refusal in refused.items():
            if len(outcome.errors) < values.MAX_PROBLEMS:
                message = f"Task {task_id} cannot be replayed: {refusal}"
                outcome.errors.append(UserError(code=TaskErrorCode.INVALID_INPUT, message=message, field=None))
