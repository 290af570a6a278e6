"""Task functions that send others in every way in which Celery can."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from celery import Task, chain, chord, current_app, group, shared_task

from gql_api.adopt import owned_by

# The number of recorded tasks in the tree of ``fan``, and of those that belong to another owner.
TREE_SIZE = 39
OF_OTHER = 2


@shared_task
def leaf(*values: Any) -> int:
    """Return the number of its arguments."""
    return len(values)


@shared_task
def broken(*_: Any) -> None:
    """Fail."""
    raise ValueError("broken")


@shared_task
def failed(task_id: str) -> None:
    """Do nothing about a failed task; Celery sends an errback of one parameter as a task."""


@shared_task(bind=True)
def once_more(self: Task) -> None:
    """Ask for one retry, then send a task."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    leaf.delay()


@shared_task(bind=True)
def replaced(self: Task) -> None:
    """Become a chain, whose last step keeps the id."""
    raise self.replace(chain(leaf.si(), leaf.si()))


@shared_task(record=False)
def unseen() -> None:
    """Send a task from one that has no record."""
    leaf.delay()


@shared_task
def parent() -> None:
    """Send a task."""
    leaf.delay()


@shared_task
async def coroutine() -> None:
    """Send a task from the event loop."""
    await asyncio.sleep(0)
    leaf.delay()


@shared_task
def in_place() -> None:
    """Send a task, wherever it runs."""
    leaf.delay()


@shared_task(bind=True)
def add_to_chord(self: Task) -> None:
    """Add a member to the chord that it is a member of."""
    self.add_to_chord(leaf.si())


@shared_task
def fan() -> None:
    """Send tasks in every way: as many as the comments say."""
    leaf.delay()  # 1
    leaf.apply_async(countdown=0.1)  # 1
    current_app.send_task("owner_tasks.leaf")  # 1
    chain(leaf.si(), leaf.si(), leaf.si()).delay()  # 3
    group(leaf.si(), leaf.si()).delay()  # 2
    chord([leaf.si(), add_to_chord.si()])(leaf.s() | leaf.s())  # 5
    chord([leaf.si(), broken.si()])(leaf.s())  # 3
    leaf.apply_async(link=[leaf.s(), leaf.s()])  # 3
    broken.apply_async(link_error=failed.s())  # 2
    chain(broken.si(), leaf.si(), leaf.si()).delay()  # 3
    chain(group(leaf.si(), leaf.si()), leaf.s()).delay()  # 3
    once_more.delay()  # 2
    replaced.delay()  # 2
    unseen.delay()  # 1
    coroutine.delay()  # 2
    in_place()  # 1
    in_place.apply()  # 1
    with owned_by("other", tenant="others"):
        parent.delay()  # 2, which belong to the other


@shared_task(bind=True)
def patient(self: Any, *, heeds: bool) -> None:
    """Run until it is cancelled, or ended by force."""
    while not (heeds and self.is_cancelled()):
        time.sleep(0.02)
    self.report_progress(1)
