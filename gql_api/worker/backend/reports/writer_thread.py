"""The thread behind the writers of progress and logs: it runs while there is work, and never in a forked child."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

_IDLE_SECONDS = 60.0


class WriterThread:
    """A daemon thread that writes what its owner collects, and the lock that guards the collection.

    Args:
        name: of the thread.
        delay: returns in how many seconds there is something to write, None when there is nothing; called with the
            lock held.
        write: writes what is due, in the thread.
        clear: empties the collection: after an idle minute, with the lock held, and in a forked child.
    """

    def __init__(
        self, name: str, delay: Callable[[], float | None], write: Callable[[], None], clear: Callable[[], None]
    ) -> None:
        self._name = name
        self._delay = delay
        self._write = write
        self._clear = clear
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._forget_parent)

    @property
    def lock(self) -> threading.Condition:
        """The lock that guards the collection."""
        return self._condition

    @property
    def is_running(self) -> bool:
        """True while the thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    def wake(self) -> None:
        """Make the thread check for work, and start it first if necessary. Call this with the lock held."""
        if not self.is_running:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._condition.notify()

    def _run(self) -> None:
        while self._wait():
            self._write()

    def _wait(self) -> bool:
        """Wait until something is due; return False after an idle minute, which ends the thread."""
        idle_since = time.monotonic()
        with self._condition:
            while (delay := self._delay()) is None or delay > 0:
                if delay is None and time.monotonic() - idle_since > _IDLE_SECONDS:
                    # All is written. What remains belongs to quiet attempts, and to those that were replaced.
                    self._clear()
                    self._thread = None
                    return False
                self._condition.wait(_IDLE_SECONDS if delay is None else delay)
        return True

    def _forget_parent(self) -> None:
        # Neither the parent's thread nor the holder of its lock exists in a forked child.
        self._condition = threading.Condition()
        self._thread = None
        self._clear()
