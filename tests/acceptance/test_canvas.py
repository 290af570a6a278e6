"""Celery's canvas by plain Celery code, with our worker: what programs get, and what the API shows of it."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import pytest
from programs import Run
from redis import Redis
from support import Api, wait_until


@pytest.mark.parametrize(
    ("canvas", "result"),
    [
        ("chord([add.s(n) for n in range(8)], total.s())", 36),
        ("chord([add.s(1)], total.s())", 2),
        ("chord([add.s(1), chain(add.s(1), add.s(1))], total.s())", 5),
        ("chord([group(add.s(1), add.s(2)), add.s(3)], total.s())", 9),
        ("chord([chord([add.s(1), add.s(2)], total.s()), add.s(3)], echo.s())", [[[5, 4]], {}]),
        ("chord([ignored.s(), add.s(1)], echo.s())", [[["unwanted", 2]], {}]),
        ("chain(add.s(1), group(add.s(1), add.s(2)), total.s(), add.s(1))", 8),
        ("chord([add.s(1), add.s(2)], chain(total.s(), add.s(1)))", 6),
        ("chord([add.s(1), add.s(2)], group(total.s(), echo.s()))", [5, [[[2, 3]], {}]]),
        ("chord([replaced.s(1), add.s(2)], echo.s())", [[[[2, 3], 3]], {}]),
        ("chord([joined_by.s(5), add.s(2)], total.s())", 10),
        ("chord((add.s(n) for n in range(3)), total.s())", 6),
        ("group(add.s(1), chain(add.s(1), add.s(2)))", [2, 4]),
    ],
)
def test_a_canvas_gives_its_result(run: Run, canvas: str, result: Any) -> None:
    """Chords of tasks, chains, groups, chords and of tasks that change the chord end with the right values."""
    assert run(f"report(({canvas}).apply_async().get(timeout=30, interval=0.02))") == result


def test_a_body_whose_members_fail_is_a_task_that_failed(api: Api, run: Run) -> None:
    """The id that a program waits for is known, FAILURE says which member failed, and the body's errback is called."""
    errback_id = str(uuid.uuid4())
    program = f"""
body = total.s().on_error(large.si(3).set(task_id={errback_id!r}))
result = chord([add.s(1), fail.s("broken")], body).apply_async()
try:
    result.get(timeout=30, interval=0.02)
except (ChordError, ValueError):
    # The member's own error is raised as soon as it is known, which may be before the body has failed.
    app.backend.wait_for(result.id, timeout=30, interval=0.02)
report([result.id, repr(result.result)])
"""
    body_id, error = run(program)
    assert "ChordError" in error
    assert "broken" in error
    task = api.task(body_id)
    assert (task["name"], task["status"], task["error"]["type"]) == ("task_modules.total", "FAILURE", "ChordError")
    assert task["attempts"] == 0
    wait_until(lambda: api.task(errback_id))
    assert api.finished(errback_id)["result"] == "xxx"


def test_nothing_polls(api: Api, run: Run, redis: Redis) -> None:
    """While the members of a chord run, no task of Celery's own waits for them."""
    key = f"chord-{uuid.uuid4()}"
    body_id = run(f"report(chord([wait_for_key.s({key!r}), add.s(1)], echo.s()).apply_async().id)")
    wait_until(lambda: redis.llen(f"{key}:started"))
    assert api.task(body_id)["status"] == "QUEUED"
    assert [message for message in redis.lrange("celery", 0, -1) if "chord_unlock" in message] == []
    assert "chord_unlock" not in str(redis.hgetall("unacked"))
    redis.lpush(key, "go")
    assert api.finished(body_id)["result"] == [[["released", 2]], {}]


def test_a_replaced_task_ends_under_its_own_id(api: Api, run: Run) -> None:
    """The task that was created gets the result of what replaced it."""
    task = api.finished(run("report(replaced.delay(1).id)"))
    assert (task["name"], task["status"], task["result"]) == ("task_modules.replaced", "SUCCESS", [2, 3])


def test_a_failed_step_fails_all_that_would_have_followed(api: Api, run: Run) -> None:
    """A program that waits for a chain with a group in it learns that it will not end."""
    ids = run("""
result = chain(fail.s("broken"), group(add.s(1), chain(add.s(2), add.s(3))), total.s()).apply_async()
report([result.id, *(member.id for member in result.parent.results)])
""")
    for task_id in ids:
        wait_until(partial(api.task, task_id))
        task = api.finished(task_id)
        assert (task["status"], task["attempts"]) == ("FAILURE", 0)
    ids = run("""
result = chain(fail.s("broken"), group(add.s(1), add.s(2))).apply_async()
report([member.id for member in result.results])
""")
    for task_id in ids:
        wait_until(partial(api.task, task_id))
        assert api.finished(task_id)["error"]["message"] == "broken"
