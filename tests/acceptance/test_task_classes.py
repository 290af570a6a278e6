"""Task functions that use what Celery offers them, and base classes of their own."""

from __future__ import annotations

from support import Api, wait_until


def test_a_start_told_by_hand_is_no_second_start(api: Api) -> None:
    """`track_started` and `update_state(state="STARTED")` neither take the task from its attempt nor strand it."""
    task = api.finished(api.create("task_modules.tracked"))
    assert (task["status"], task["result"], task["attempts"]) == ("SUCCESS", "told", 1)


def test_a_retry_may_change_the_arguments(api: Api) -> None:
    """The next attempt gets the arguments of the retry; the record keeps those of the creation."""
    task = api.finished(api.create("task_modules.next_page", args=[1]))
    assert (task["result"], task["attempts"], task["args"]) == (3, 3, [1])


def test_a_retry_that_cannot_be_sent_is_a_failure(api: Api) -> None:
    """The task ends, once, and says why."""
    task = api.finished(api.create("task_modules.unsendable_retry"))
    assert (task["status"], task["attempts"]) == ("FAILURE", 1)
    assert task["error"]["type"] == "TypeError"


def test_a_base_class_of_its_own_is_covered(api: Api) -> None:
    """A class that overrides sending, starting and calling is claimed all the same, and headers steer nothing."""
    sent = api.finished(api.create("task_modules.sends_for_tenant"))["result"]
    wait_until(lambda: api.task(sent))
    task = api.finished(sent)
    assert (task["result"], task["attempts"]) == (["as tenant", "sent"], 1)


def test_a_start_that_is_refused_by_the_class_is_not_repeated(api: Api) -> None:
    """`Ignore` before the function ends the task."""
    task = api.finished(api.create("task_modules.of_tenant", args=["refused"]))
    assert (task["status"], task["attempts"]) == ("REVOKED", 1)


def test_an_eager_call_inside_leaves_the_time_limit_alone(api: Api) -> None:
    """A function that runs another task in place is still interrupted by its own soft limit."""
    task = api.finished(api.create("task_modules.eager_inside"))
    assert task["error"]["type"] == "SoftTimeLimitExceeded"
