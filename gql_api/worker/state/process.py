"""The role of this process: a worker's main process, one of its pool processes, or a program that only sends tasks."""

from __future__ import annotations

import logging
import os
import queue
import threading
import uuid
from collections.abc import Callable

logger = logging.getLogger(__name__)

# This run of the worker: its main process and, as they are forked from it, its pool processes.
RUN = uuid.uuid4().hex

_event_loop: tuple[int, int] | None = None
_is_worker = False


def become_worker(*, has_event_loop: bool) -> None:
    """Note that this process is a worker's main process, and whether this thread is its event loop."""
    global _is_worker, _event_loop  # noqa: PLW0603 - the role of a process is global to it
    _is_worker = True
    _event_loop = (os.getpid(), threading.get_ident()) if has_event_loop else None


def is_worker() -> bool:
    """Return whether this process belongs to a worker, which waits for a store that is away."""
    return _is_worker


def has_pool_processes() -> bool:
    """Return whether this worker runs its tasks in separate processes."""
    return _event_loop is not None


def is_main_process() -> bool:
    """Return whether this process is the main one of a worker that runs its tasks in separate processes."""
    return _event_loop is not None and _event_loop[0] == os.getpid()


def in_event_loop() -> bool:
    """Return whether this thread handles the worker's messages, timers and processes, and so must never block."""
    return _event_loop == (os.getpid(), threading.get_ident())


class BackgroundThread:
    """A thread of the worker's main process that runs one function after the other, in the order of their arrival."""

    def __init__(self) -> None:
        self._work: queue.Queue[Callable[[], object]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], object]) -> None:
        """Run a function soon; log its error."""
        self._work.put(work)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="background", daemon=True)
                self._thread.start()

    def drain(self, timeout: float) -> bool:
        """Wait until all that was submitted is done; return False when that takes longer than ``timeout`` seconds."""
        done = threading.Event()
        self.submit(done.set)
        return done.wait(timeout)

    def _run(self) -> None:
        while True:
            work = self._work.get()
            try:
                work()
            except Exception:
                logger.exception("The worker could not store the outcome of a task")


background_thread = BackgroundThread()
