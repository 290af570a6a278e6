from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, chord, group, signature, states
from celery.app.amqp import AMQP
from celery.app.task import Context
from celery.canvas import Signature
from redis import Redis

from gql_api.record import canvas as record_canvas
from gql_api.record import fields, queries
from gql_api.record.canvas import Chord, Part
from gql_api.settings import Settings
from gql_api.worker.backend.backend import Backend
from gql_api.worker.sending.amqp import RecordingAMQP


@dataclass
class Canvas:
    """A chord of three members that are never sent; they end only in calls of the backend."""

    backend: Backend
    members: list[str]
    id: str
    body: Signature
    redis: Redis

    def finish(self, number: int, **of_request: Any) -> None:
        """Store the end of a member, as a worker does."""
        self.backend.mark_as_done(self.members[number], number, request=self._request(number, **of_request))

    def count(self, number: int) -> None:
        """Count a member's end in the chord, whatever its record contains."""
        self.backend.on_chord_part_return(self._request(number), states.SUCCESS, number)

    def _request(self, number: int, **rest: Any) -> Context:
        place = {"group": self.id, "group_index": number, "chord": dict(self.body)}
        return Context(id=self.members[number], task="shop.price", hostname="w", **place, **rest)

    @property
    def bodies_sent(self) -> int:
        """The number of messages for the body in its queue."""
        return int(self.redis.llen(self.body.options["queue"]))

    @property
    def stored(self) -> Chord:
        """The chord in MongoDB."""
        document = self.backend.database[fields.CHORDS].find_one(queries.by_id(self.id))
        assert document is not None
        return record_canvas.chord_from(document)

    @property
    def finished(self) -> list[str]:
        """The members that have finished, in their order."""
        documents = self.backend.database[fields.CHORD_PARTS].find(record_canvas.parts_of(self.id))
        return [
            part.task_id
            for part in record_canvas.in_order([record_canvas.part_from(document) for document in documents])
        ]


class _Sending(AMQP):  # type: ignore[misc] # Celery has no types
    """Celery's own, which makes no records, with the method of an adopted app that the backend calls."""

    with_versions = RecordingAMQP.with_versions


@pytest.fixture
def canvas(settings: Settings) -> Iterator[Canvas]:
    """Begin the chord."""
    app = Celery("chord-tests", set_as_current=False, broker=settings.celery_broker_url)
    app.amqp_cls = _Sending
    app.conf.update(accept_content=["json"], result_backend_thread_safe=True)
    backend = app._backend_cache = Backend(app, settings)  # noqa: SLF001 - the backend would read the environment
    members = [signature("shop.price", app=app) for _ in range(3)]
    body = signature("shop.bill", app=app, options={"queue": f"bodies-{uuid.uuid4()}"})
    begun = chord(group(members, app=app), body, app=app)
    header = begun.freeze().parent
    backend.apply_chord((header.id, header.results), body)
    backend.set_chord_size(header.id, 3)
    with Redis.from_url(settings.celery_broker_url) as redis:
        yield Canvas(backend, [member.id for member in header.results], header.id, body, redis)
        redis.delete(body.options["queue"])
    backend.connections.close()
    app.close()


def test_the_last_member_sends_the_body_once(canvas: Canvas) -> None:
    """Members may end in any order; the body is sent with the last of them and the chord is done."""
    for number, sent in ((2, 0), (0, 0), (1, 1)):
        canvas.finish(number)
        assert canvas.bodies_sent == sent
    assert canvas.stored.done


def test_a_member_told_twice_counts_once(canvas: Canvas) -> None:
    """A redelivered member neither completes a chord that others still run in, nor sends a body again."""
    for number in (0, 1):
        canvas.finish(number)
        for _ in range(2):
            canvas.finish(number)
            canvas.count(number)
    assert (canvas.bodies_sent, canvas.stored.finished) == (0, 2)
    canvas.finish(2)
    canvas.finish(2)
    canvas.count(2)
    assert canvas.bodies_sent == 1
    assert canvas.finished == canvas.members


def test_members_that_end_together_send_one_body(canvas: Canvas) -> None:
    """However the last members race, one of them finds the set complete."""
    threads = [threading.Thread(target=canvas.finish, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert canvas.bodies_sent == 1


def test_a_member_that_joins_is_waited_for(canvas: Canvas) -> None:
    """A task that was added to the chord while it ran has to finish too, however often it is added."""
    joined = canvas.backend.app.AsyncResult(str(uuid.uuid4()))
    for _ in range(2):
        canvas.backend.add_to_chord(canvas.id, joined)
    for number in range(3):
        canvas.finish(number)
    assert canvas.bodies_sent == 0
    canvas.members.append(joined.id)
    canvas.finish(3)
    assert canvas.bodies_sent == 1


def test_a_member_that_was_not_counted_is(canvas: Canvas) -> None:
    """A worker may die after it added a finished member and before it counted it: the next repair counts it."""
    for number in range(3):
        canvas.finish(number)
    chords_ = canvas.backend.database[fields.CHORDS]
    chords_.update_one({}, {"$set": {"finished": 2, "done": False}})
    canvas.backend.repair_chords(datetime.now(UTC) + timedelta(seconds=1))
    assert (canvas.bodies_sent, canvas.stored.finished, canvas.stored.done) == (2, 3, True)


def test_a_member_told_again_that_was_not_counted_is(canvas: Canvas) -> None:
    """A worker that had no answer when it added a member, and so adds it again, does not leave it uncounted."""
    for number in (0, 1):
        canvas.finish(number)
    part = record_canvas.add_part(canvas.id, Part(canvas.members[2], 2))
    canvas.backend.database[fields.CHORD_PARTS].update_one(*part, upsert=True)
    canvas.finish(2)
    assert canvas.bodies_sent == 1


def test_a_count_that_is_ahead_sends_nothing_early(canvas: Canvas) -> None:
    """A count that was made twice, for its reply was lost, does not stand for a member that still runs."""
    canvas.finish(0)
    canvas.backend.database[fields.CHORDS].update_one({}, {"$inc": {"finished": 1}})
    canvas.finish(1)
    assert canvas.bodies_sent == 0
    canvas.finish(2)
    assert canvas.bodies_sent == 1


def test_a_member_that_joined_and_was_not_told_is_found(canvas: Canvas) -> None:
    """When its worker dies, a member that joined may have its end stored and nothing else."""
    joined = str(uuid.uuid4())
    canvas.backend.add_to_chord(canvas.id, canvas.backend.app.AsyncResult(joined))
    for number in range(3):
        canvas.finish(number)
    canvas.backend.mark_as_done(joined, 3, request=Context(id=joined, task="shop.price", hostname="w"))
    assert canvas.bodies_sent == 0
    canvas.backend.repair_chords(datetime.now(UTC) + timedelta(seconds=1))
    assert canvas.bodies_sent == 1


def test_what_a_member_ignores_is_kept_for_the_body_only(canvas: Canvas) -> None:
    """The body gets an ignored result even if its worker did not count the member; then no record holds it any more."""
    tasks = canvas.backend.database[fields.TASKS]
    finish = canvas.backend.on_chord_part_return
    canvas.backend.on_chord_part_return = lambda *_args, **_rest: None  # type: ignore[method-assign] # the worker dies
    canvas.finish(0, ignore_result=True)
    assert tasks.count_documents({fields.CHORD_RESULT: {"$exists": True}}) == 1
    canvas.backend.on_chord_part_return = finish  # type: ignore[method-assign] # as above
    for number in (1, 2):
        canvas.finish(number)
    canvas.backend.repair_chords(datetime.now(UTC) + timedelta(seconds=1))
    [message] = canvas.redis.lrange(canvas.body.options["queue"], 0, -1)
    args, _, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
    assert args == [[0, 1, 2]]
    assert tasks.count_documents({fields.CHORD_RESULT: {"$exists": True}}) == 0
    assert canvas.backend.store.find(canvas.members[0]).result is None  # type: ignore[union-attr] # it has a record


def test_who_comes_too_late_to_complete_a_chord_changes_nothing(canvas: Canvas) -> None:
    """Two may find a chord complete; the slower one does not mistake dropped results for missing ones."""
    for number in range(3):
        canvas.finish(number, ignore_result=True)
    found_complete = replace(canvas.stored, done=False)
    canvas.backend._chords._complete(found_complete, canvas.body)  # noqa: SLF001 - what the slower one does next
    assert canvas.bodies_sent == 1
    body = canvas.backend.store.find(canvas.body.id)
    assert body is None or not body.is_final


def test_a_chord_that_is_not_done_does_not_expire(canvas: Canvas) -> None:
    """A member may wait for longer than results are kept, and no worker may run in that time."""
    canvas.finish(0)
    old = datetime.now(UTC) - timedelta(days=400)
    chords = canvas.backend.database[fields.CHORDS]
    assert chords.update_one(queries.by_id(canvas.id), {"$set": {fields.UPDATED_AT: old}}).modified_count == 1
    canvas.backend.cleanup()
    assert canvas.stored.size == 3
    for number in (1, 2):
        canvas.finish(number)
    assert canvas.bodies_sent == 1


def test_chords_that_are_done_expire_like_groups(canvas: Canvas) -> None:
    """Celery's clean-up deletes chords that were done as long ago as results are kept."""
    for number in range(3):
        canvas.finish(number)
    canvas.backend.cleanup()
    assert canvas.stored.size == 3
    assert canvas.finished == canvas.members
    canvas.backend.expires = 1e-6
    canvas.backend.cleanup()
    assert canvas.backend.database[fields.CHORDS].count_documents({}) == 0
    assert canvas.finished == []
    assert canvas.backend.database[fields.CHORD_DEFINITIONS].count_documents({}) == 0
