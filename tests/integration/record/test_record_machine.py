"""The record compared with a model of it, for any writes in any order from any attempt."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gql_api.record import claims, control, writes
from gql_api.record.fields import Status
from gql_api.record.model import Claim, ErrorInfo, NewTask, Progress
from gql_api.record.reads import TaskRecord
from gql_api.record.writes import Write
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
from gql_api.worker.store.tasks import Store

_METADATA = {"a.b": {"$set": 1}}
_ERROR = ErrorInfo("ValueError", "no")
_WAITING = {Status.SCHEDULED, Status.QUEUED, Status.RETRY}
_workers = st.sampled_from([("first", 11), ("first", 12), ("second", 11)])
# Present, past and impossible attempts.
_attempts = st.integers(min_value=0, max_value=4)


class RecordMachine(RuleBasedStateMachine):
    """Workers, recovery and late writers of one record. The model decides which of their writes succeed."""

    store: Store

    @initialize()
    def create(self) -> None:
        """Make the record."""
        self.id = str(uuid.uuid4())
        self.store.change(writes.create(NewTask(id=self.id, name="add", metadata=_METADATA)), upsert=True)
        self.status = Status.QUEUED
        self.attempts = self.lost = self.lost_workers = 0
        self.revision = 1
        self.holder: tuple[str, int] | None = None
        self.asked = self.forced = False
        self.metadata: dict[str, object] = dict(_METADATA)
        self.metadata_revision: int | None = None

    @rule(worker=_workers, message_age=st.sampled_from([0, 0, 1, 2]))
    def claim(self, worker: tuple[str, int], message_age: int) -> None:
        """A worker claims it: only a waiting task without a cancel request, and by the message of its next attempt."""
        taking = Claim(uuid.uuid4().hex, worker[0], worker[0], worker[1], 60.0, self.attempts - message_age)
        taken = self.status in {Status.QUEUED, Status.RETRY} and not self.asked and not message_age
        if self._expect(claims.claim(self.id, taking), taken=taken):
            self.status, self.holder, self.attempts = Status.STARTED, worker, self.attempts + 1

    @rule(attempt=_attempts, outcome=st.sampled_from([Status.SUCCESS, Status.FAILURE, Status.RETRY]))
    def end(self, attempt: int, outcome: Status) -> None:
        """An attempt reports its end: only that of the attempt that holds the task counts."""
        fence = claims.held_by(attempt)
        write = {
            Status.SUCCESS: writes.succeed(self.id, 1, fence=fence),
            Status.FAILURE: writes.fail(self.id, _ERROR, fence=fence),
            Status.RETRY: writes.retry(self.id, _ERROR, due_in=60.0, fence=fence),
        }[outcome]
        if self._expect(write, taken=self._holds(attempt)):
            self.status, self.holder = outcome, None

    @rule(attempt=_attempts)
    def reject(self, attempt: int) -> None:
        """A function rejects its task, which then waits."""
        write = claims.reject(self.id, _ERROR, due_in=60.0, fence=claims.held_by(attempt))
        if self._expect(write, taken=self._holds(attempt)):
            self.status, self.holder = Status.RETRY, None

    @rule(attempt=_attempts)
    def note_state(self, attempt: int) -> None:
        """A function sets one of Celery's states itself, which ends nothing."""
        write = claims.note_state(self.id, "FAILURE", fence=claims.held_by(attempt))
        self._expect(write, taken=self._holds(attempt))

    @rule(attempt=_attempts)
    def report(self, attempt: int) -> None:
        """An attempt reports progress."""
        self._expect(writes.progress(self.id, Progress(1.0), fence=claims.held_by(attempt)), taken=self._holds(attempt))

    @rule(worker=_workers, lost=st.sampled_from([None, *claims.Loss]))
    def give_back(self, worker: tuple[str, int], lost: claims.Loss | None) -> None:
        """A main process takes the task from one of its processes."""
        fence = claims.run_by(*worker)
        taken = self.status is Status.STARTED and self.holder == worker
        if self._expect(claims.requeue(self.id, fence, "given back", lost=lost), taken=taken):
            self.status, self.holder = Status.QUEUED, None
            self.lost += lost is claims.Loss.PROCESS
            self.lost_workers += lost is claims.Loss.WORKER

    @rule(attempt=_attempts)
    def recover(self, attempt: int) -> None:
        """Recovery leaves an attempt alone whose lease has not expired."""
        self._expect(claims.requeue(self.id, claims.lease_over(attempt), "lost", lost=claims.Loss.WORKER), taken=False)

    @rule()
    def enqueue_early(self) -> None:
        """A task is not sent before it is due. One that waits for a retry is due at once when it was cancelled."""
        if self._expect(claims.enqueue(self.id), taken=self.status is Status.RETRY and self.asked):
            self.status = Status.QUEUED

    @rule()
    def expire(self) -> None:
        """A task without a limit for its start never expires."""
        self._expect(claims.expire(self.id), taken=False)

    @rule()
    def revoke_waiting(self) -> None:
        """A main process revokes a task that it never started, but not one that another worker runs."""
        write = writes.fail(self.id, _ERROR, status=Status.REVOKED, fence=claims.waiting())
        if self._expect(write, taken=self.status in _WAITING):
            self.status = Status.REVOKED

    @rule()
    def cancel_waiting(self) -> None:
        """A caller cancels a waiting task at once."""
        if self._expect(control.cancel_waiting(self.id, "no"), taken=self.status in _WAITING):
            self.status, self.asked = Status.REVOKED, True

    @rule(force=st.booleans())
    def request_cancel(self, force: bool) -> None:
        """A caller requests the end of a running task: once, and once more by force."""
        is_new = not self.forced if force else not self.asked
        write = control.request_cancel(self.id, "no", force=force)
        if self._expect(write, taken=self.status is Status.STARTED and is_new):
            self.asked, self.forced = True, self.forced or force

    @rule()
    def end_as_asked(self) -> None:
        """A worker that finds a waiting task with a cancel request ends it."""
        fence = {**claims.waiting(), **control.cancel_requested()}
        write = writes.fail(self.id, control.revoked_error("no"), status=Status.REVOKED, fence=fence)
        if self._expect(write, taken=self.status in _WAITING and self.asked):
            self.status = Status.REVOKED

    @rule(seen=st.booleans(), value=st.integers(0, 9))
    def change_metadata(self, seen: bool, value: int) -> None:
        """A caller changes metadata in any state, unless another change came after the read."""
        before = self.metadata_revision if seen else -1
        changed: dict[str, object] = {**_METADATA, "n": value}
        if self._expect(control.replace_metadata(self.id, changed, before), taken=seen):
            self.metadata, self.metadata_revision = changed, self.revision

    @rule(attempt=_attempts)
    def change_own_metadata(self, attempt: int) -> None:
        """An attempt changes the metadata of its task while it holds it."""
        changed: dict[str, object] = {"by": attempt}
        fence = claims.held_by(attempt)
        write = control.replace_metadata(self.id, changed, self.metadata_revision, token=uuid.uuid4().hex, fence=fence)
        if self._expect(write, taken=self._holds(attempt)):
            self.metadata, self.metadata_revision = changed, self.revision

    @rule(run=st.sampled_from(["first", "second"]))
    def extend(self, run: str) -> None:
        """A heartbeat finds the task of its own worker only, and is not published."""
        holds = self.status is Status.STARTED and self.holder is not None and self.holder[0] == run
        assert self.store.note(claims.extend_leases(run, [self.id], 60.0)) == holds

    @precondition(lambda self: self.status.is_final)
    @rule(forced=st.sampled_from(["succeed", "fail", "start"]))
    def late(self, forced: str) -> None:
        """Once final, not even a write without a fence changes anything."""
        write = {
            "succeed": writes.succeed(self.id, "late"),
            "fail": writes.fail(self.id, _ERROR),
            "start": writes.start(self.id, worker="late"),
        }[forced]
        self._expect(write, taken=False)

    @invariant()
    def is_as_the_model_says(self) -> None:
        """The record has the changes that succeeded, and no others."""
        record = self._record()
        assert (record.status, record.attempts, record.lost_attempts) == (self.status, self.attempts, self.lost)
        assert record.lost_workers == self.lost_workers
        assert record.revision == self.revision
        assert record.metadata == self.metadata
        assert record.metadata_revision == self.metadata_revision
        assert (record.cancel_requested_at is not None) == self.asked
        assert (record.claim is not None) == (self.status is Status.STARTED)
        assert (record.finished_at is not None) == self.status.is_final
        assert (record.due_at is None) == self.status.is_final
        assert record.history[-1].status is self.status

    def _holds(self, attempt: int) -> bool:
        return self.status is Status.STARTED and attempt == self.attempts

    def _expect(self, write: Write, *, taken: bool) -> bool:
        record = self.store.change(write)
        assert (record is not None) == taken
        self.revision += taken
        return taken

    def _record(self) -> TaskRecord:
        record = self.store.find(self.id)
        assert record is not None
        return record


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """The records of the test's own database."""
    connections = Connections(settings)
    yield Store(connections)
    connections.close()


def test_the_record_keeps_to_its_model(store: Store) -> None:
    """Only the holder of a task changes it, attempts and revisions only rise, and final states are final."""
    machine = type("Machine", (RecordMachine,), {"store": store})
    run_state_machine_as_test(
        machine, settings=hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
    )
