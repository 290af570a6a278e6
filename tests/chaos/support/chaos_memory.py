"""The resident memory of the processes of a site."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import psutil
from chaos_site import Site

_SAMPLE_SECONDS = 3.0
# A process has grown to its normal size after so many seconds.
_WARM_SECONDS = 20.0
_MIN_SECONDS = 40.0
_MAX_GROWTH_MIB = 48.0


@dataclass
class Life:
    """The samples of one process, in MiB, each with its time of ``time.monotonic``."""

    name: str
    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def warm(self) -> float | None:
        """The memory once the process had warmed up, or None when it has not lived long enough since."""
        first, last = self.samples[0][0], self.samples[-1][0]
        if last - first < _MIN_SECONDS:
            return None
        return next(size for at, size in self.samples if at - first >= _WARM_SECONDS)


@dataclass
class Memory:
    """Samples the memory of all workers and replicas, with their children, in a thread."""

    site: Site
    lives: dict[int, Life] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="sample memory")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def sample(self) -> set[int]:
        """Take a sample of each process, and return their ids."""
        pids = set()
        for process in (*self.site.workers.values(), *self.site.apis.values()):
            if process.is_running:
                pids.add(process.pid)
                self._sample(process.pid, process.name)
                for pid in process.children():
                    pids.add(pid)
                    self._sample(pid, f"{process.name}, child")
        return pids

    def violations(self) -> Iterator[str]:
        """Sample once more, and yield the processes that have grown too much."""
        for pid in self.sample():
            life = self.lives.get(pid)
            if life is None or life.warm is None:
                continue
            last = life.samples[-1][1]
            if last - life.warm > _MAX_GROWTH_MIB:
                yield f"{life.name} ({pid}) has grown from {life.warm:.0f} to {last:.0f} MiB"

    def summary(self) -> str:
        """Return the largest memory of each kind of process."""
        largest: dict[str, float] = {}
        for life in self.lives.values():
            largest[life.name] = max([largest.get(life.name, 0.0), *(size for _, size in life.samples)])
        return ", ".join(f"{name} {size:.0f}" for name, size in sorted(largest.items()))

    def _run(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self.sample()

    def _sample(self, pid: int, name: str) -> None:
        try:
            resident = psutil.Process(pid).memory_info().rss / 2**20
        except psutil.Error:
            return
        self.lives.setdefault(pid, Life(name)).samples.append((time.monotonic(), resident))
