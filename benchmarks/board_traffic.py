"""Changes of tasks at a rate, stored and published by a worker's own code, on the core of the servers."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from made import NAMES

from gql_api.record import writes
from gql_api.record.model import ErrorInfo, NewTask, Progress
from gql_api.worker.store.tasks import Store

WORKER = "celery@worker-01"
# A screen has this many rows, about.
_ON_SCREEN = 20
# Of each task: it is created, starts, reports progress and ends.
_CHANGES = 10
_FAILURES = 20

Change = Callable[[int], None]
"""Makes a change; its argument rises from 0."""


class Traffic:
    """What changes in the tasks.

    Args:
        store: the records.
        rate: changes a second.
        cores: of the thread that makes them.
    """

    def __init__(self, store: Store, rate: int, cores: set[int]) -> None:
        self._store, self._rate, self._cores = store, rate, cores
        self._tasks: list[str] = []
        self._numbers = count()
        self.made = 0

    @contextmanager
    def running(self, change: Change) -> Iterator[None]:
        """Make changes until the block ends."""
        ended = threading.Event()
        thread = threading.Thread(target=self._go_on, args=(change, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _go_on(self, change: Change, ended: threading.Event) -> None:
        os.sched_setaffinity(0, self._cores)
        began = time.perf_counter()
        for place in count():
            if ended.wait(max(0.0, began + place / self._rate - time.perf_counter())):
                return
            change(place)
            self.made += 1

    def fill_screen(self) -> None:
        """Begin as many tasks as a screen has rows."""
        self._tasks = [self.create() for _ in range(_ON_SCREEN)]
        for task in self._tasks:
            self._start(task)

    def update_screen(self, place: int) -> None:
        """Report the progress of one of these tasks."""
        task, step = self._tasks[place % _ON_SCREEN], place // _ON_SCREEN
        self._store.change(writes.progress(task, Progress(step % 100, 100, f"step {step}")), quick=True)

    def add(self, _place: int) -> None:
        """Create a task."""
        self.create()

    def live(self, place: int) -> None:
        """Make the next change of one of ten tasks, which are created, run and end; one in twenty of them fails."""
        slot, step = place % _CHANGES, place // _CHANGES % _CHANGES
        if place == 0:
            self._tasks = [""] * _CHANGES
        if step == 0 or not self._tasks[slot]:
            self._tasks[slot] = self.create()
        elif step == 1:
            self._start(self._tasks[slot])
        elif step < _CHANGES - 1:
            report = Progress(step, _CHANGES, f"step {step}")
            self._store.change(writes.progress(self._tasks[slot], report), quick=True)
        elif place // _CHANGES**2 % _FAILURES == slot:
            self.fail(self._tasks[slot])
        else:
            self._store.change(writes.succeed(self._tasks[slot], place), quick=True)

    def create(self, name: str | None = None) -> str:
        """Create a task, and return its id."""
        number = next(self._numbers)
        metadata = {"customer": {"id": f"cus-{number % 97:06}"}, "order": f"ord-{number:08}"}
        task = NewTask(id=str(uuid.uuid4()), name=name or NAMES[number % len(NAMES)], metadata=metadata)
        self._store.change(writes.create(task), upsert=True, quick=True)
        return task.id

    def fail(self, task: str) -> None:
        """Let a task fail."""
        self._store.change(writes.fail(task, ErrorInfo("ConnectionError", "the other side does not answer")))

    def _start(self, task: str) -> None:
        self._store.change(writes.start(task, worker=WORKER), quick=True)
