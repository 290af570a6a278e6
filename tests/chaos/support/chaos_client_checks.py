"""The checks of what clients were promised: by answers, to watchers and in live lists."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from chaos_evidence import Check, Evidence
from chaos_watchers import FAILED, LiveList, State

from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord

# A replica may hand on a state that was lost, as long as it reads from the server that lost it.
_LOSS_SECONDS = 5.0


def cancelled_tasks_stay_cancelled(evidence: Evidence) -> Iterator[str]:
    """A task whose cancellation was acknowledged does not start any more, and ends as the answer promised."""
    for cancel in evidence.ledger.cancels:
        record = evidence.records.get(cancel.task_id)
        if record is None or cancel.status is None or cancel.refused:
            continue
        if cancel.status == Status.REVOKED and record.status is not Status.REVOKED:
            yield f"{record.id} is {record.status}, and its cancellation was acknowledged as REVOKED"
        if record.attempts == 0 and evidence.runs_of.get(record.id):
            yield f"{record.id} was cancelled before it started, and ran"
        requested = record.cancel_requested_at
        if requested is None:
            yield f"{record.id} has no cancel request, and its cancellation was acknowledged"
        elif any(entry.status is Status.STARTED and entry.at > requested for entry in record.history):
            yield f"{record.id} was started after it had been cancelled"


def keys_are_unique(evidence: Evidence) -> Iterator[str]:
    """There is one task for each idempotency key, and both replicas name it."""
    stored = Counter(record.metadata.get("key") for record in evidence.records.values())
    for use in evidence.ledger.keys:
        if len(use.ids) > 1:
            yield f"the replicas name different tasks for the key {use.key}: {sorted(use.ids)}"
        if use.created > 1:
            yield f"{use.created} calls say that they have created the task of the key {use.key}"
        if stored[use.key] > 1 or (use.ids and stored[use.key] == 0):
            yield f"there are {stored[use.key]} tasks with the key {use.key}"


def edits_are_exact(evidence: Evidence) -> Iterator[str]:
    """The metadata has each acknowledged change of a client once, and no refused one."""
    marks = {id_: Counter(record.metadata.get("marks", [])) for id_, record in evidence.records.items()}
    for edit in evidence.ledger.edits:
        if edit.task_id not in marks:
            continue
        found = marks[edit.task_id][edit.mark]
        if found > 1 or (edit.stored is not None and found != edit.stored):
            yield f"the mark {edit.mark} is {found} times in {edit.task_id}; acknowledged: {edit.stored}"
    for task_id, found_marks in marks.items():
        clicks = evidence.records[task_id].metadata.get("clicks", 0)
        if clicks != found_marks.total():
            yield f"{task_id} counts {clicks} clicks and has {found_marks.total()} marks"


def deleted_tasks_stay_deleted(evidence: Evidence) -> Iterator[str]:
    """A task whose deletion was acknowledged has no record, and does not run again."""
    for task_id, at in evidence.ledger.deletions.items():
        if at is None:
            continue
        if task_id in evidence.records:
            yield f"{task_id} was deleted, and is {evidence.records[task_id].status}"
        yield from (f"{run} began after its deletion" for run in evidence.runs_of.get(task_id, []) if run.began > at)


def watchers_receive_the_end(evidence: Evidence) -> Iterator[str]:
    """Each watcher of a task is complete, and the last state that it received is the final one."""
    for watch in evidence.watches:
        record, last = evidence.records.get(watch.task_id), watch.states[-1:]
        if record is None or not record.is_final:
            continue
        who = f"the watcher of {watch.task_id} by {watch.transport}"
        if not watch.is_complete:
            yield f"{who} received no end: {last}, {watch.connections} connections"
        elif not last or not last[0].is_final or last[0].status != record.status:
            yield f"{who} ended with {last}, the task is {record.status}"


def revisions_rise(evidence: Evidence) -> Iterator[str]:
    """No watcher and no list receives an older state of a task after a newer one, unless MongoDB has lost that."""
    for who, before, after in falls(evidence):
        if not is_explained(evidence, before, after):
            yield f"{who} received {after} after {before}"


def falls(evidence: Evidence) -> Iterator[tuple[str, State, State]]:
    """Yield each pair of states that a client received in the wrong order."""
    for watch in evidence.watches:
        for before, after in itertools.pairwise(watch.states):
            # A new connection begins with the present state, which may be the one that was received last.
            must_rise = before.connection == after.connection
            if after.revision < before.revision + must_rise:
                yield f"the watcher of {watch.task_id} by {watch.transport}", before, after
    for live in evidence.lists:
        for task_id, states in live.states.items():
            for before, after in itertools.pairwise(states):
                if after.revision < before.revision:
                    yield f"{_name(live)}, about {task_id},", before, after


def is_explained(evidence: Evidence, before: State, after: State) -> bool:
    """Return whether MongoDB may have lost the state that was received first."""
    return any(start <= after.at and before.at <= end + _LOSS_SECONDS for start, end in evidence.losses)


def lists_equal_the_database(evidence: Evidence) -> Iterator[str]:
    """Each live list shows exactly the tasks that match its filter, as they are in the database."""
    for live in evidence.lists:
        expected = {
            record.id: (record.revision, str(record.status))
            for record in evidence.records.values()
            if matches(live.name, record)
        }
        for task_id in sorted(expected.keys() | live.shown.keys()):
            if expected.get(task_id) != live.shown.get(task_id):
                shown, stored = live.shown.get(task_id), expected.get(task_id)
                yield f"{_name(live)} shows {task_id} as {shown}, the database has {stored}"


def matches(name: str, record: TaskRecord) -> bool:
    """Return whether a record belongs to a list of :data:`chaos_watchers.LISTS`."""
    return bool(
        {
            "all": True,
            "unfinished": not record.is_final,
            "failed": record.status in FAILED,
            "shard": record.metadata.get("shard") == 1,
        }[name]
    )


def _name(live: LiveList) -> str:
    return f"the list {live.name!r} by {live.transport}"


CHECKS: tuple[Check, ...] = (
    cancelled_tasks_stay_cancelled,
    keys_are_unique,
    edits_are_exact,
    deleted_tasks_stay_deleted,
    watchers_receive_the_end,
    revisions_rise,
    lists_equal_the_database,
)
