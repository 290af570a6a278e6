"""Memory that a worker's main process shares with its pool processes."""

from __future__ import annotations

import mmap

# The largest process id on Linux. Only the pages that are written to take memory.
_MAX_PIDS = 1 << 22


class ProcessSlots:
    """Shared memory with a slot of fixed size for each process id. Make it before the pool forks its processes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._memory = mmap.mmap(-1, _MAX_PIDS * size)

    def write(self, pid: int, content: bytes) -> None:
        """Replace the content of a process's slot.

        Raises:
            ValueError: the content does not have the size of a slot.
        """
        if len(content) != self._size:
            raise ValueError(f"content: exactly {self._size} bytes expected, got {len(content)}")
        self._memory[pid * self._size : (pid + 1) * self._size] = content

    def read(self, pid: int) -> bytes:
        """Return the content of a process's slot: zero bytes when nothing was written."""
        return self._memory[pid * self._size : (pid + 1) * self._size]
