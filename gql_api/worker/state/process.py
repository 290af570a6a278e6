"""What this process is: a worker's, its main process or a child of that, or a program that only sends tasks."""

from __future__ import annotations

import logging
import os
import queue
import threading
import uuid
from collections.abc import Callable

logger = logging.getLogger(__name__)

# This run of the worker: its main process and, as they are forked from it, its children.
RUN = uuid.uuid4().hex

_event_loop: tuple[int, int] | None = None
_is_worker = False


def become_worker(*, has_event_loop: bool) -> None:
    """Note that this process is a worker's main process, and whether this thread must not be held up by a store."""
    global _is_worker, _event_loop  # noqa: PLW0603 - what a process is, is global to it
    _is_worker = True
    _event_loop = (os.getpid(), threading.get_ident()) if has_event_loop else None


def is_worker() -> bool:
    """Whether what goes on here is a worker's: a store that is away is waited for."""
    return _is_worker


def has_pool_processes() -> bool:
    """Whether this worker runs its tasks in processes of their own."""
    return _event_loop is not None


def in_event_loop() -> bool:
    """Whether this is the thread that a worker's messages, timers and children depend on."""
    return _event_loop == (os.getpid(), threading.get_ident())


class Background:
    """Does one thing after the other in a thread of the worker's main process."""

    def __init__(self) -> None:
        self._work: queue.Queue[Callable[[], object]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], object]) -> None:
        """Have it done soon; an error is logged."""
        self._work.put(work)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="background", daemon=True)
                self._thread.start()

    def drain(self, timeout: float) -> bool:
        """Wait until all that was submitted is done; False when that takes longer than ``timeout`` seconds."""
        done = threading.Event()
        self.submit(done.set)
        return done.wait(timeout)

    def _run(self) -> None:
        while True:
            work = self._work.get()
            try:
                work()
            except Exception:
                logger.exception("The worker could not tell what became of a task")


background = Background()
