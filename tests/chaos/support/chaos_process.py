"""A process of the site: killed, frozen, stopped and started again under one name."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from support import ROOT, wait_until

_READY_SECONDS = 60.0
_STOP_SECONDS = 45.0
_TAIL_BYTES = 600


@dataclass
class Process:
    """A process with its children, which are a process group.

    Args:
        is_ready: whether it has started, given the part of its log since then.
        lock: held by the fault that strikes the process, so that it is not expected to run.
        exits: the times at which it ended by itself.
        groups: the groups that it had earlier.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    is_ready: Callable[[bytes], bool]
    lock: threading.RLock = field(default_factory=threading.RLock)
    exits: list[str] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    _running: subprocess.Popen[bytes] | None = None
    _offset: int = 0

    def start(self) -> None:
        """Start it; :meth:`wait_until_ready` waits for it."""
        with self.log.open("ab") as log:
            self._offset = log.tell()
            self._running = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
                cwd=ROOT,
                start_new_session=True,
            )
        self.groups.append(self._running.pid)

    def wait_until_ready(self, seconds: float = _READY_SECONDS) -> None:
        """Wait until it is ready, or has ended by itself.

        Raises:
            NotWithinTimeError: it is neither in time.
        """
        wait_until(lambda: not self.is_running or self.is_ready(self._output()), seconds, f"{self.name} to be ready")

    @property
    def pid(self) -> int:
        """The id of the main process, which must have been started."""
        assert self._running is not None
        return self._running.pid

    @property
    def is_running(self) -> bool:
        """True while the main process runs."""
        return self._running is not None and self._running.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the main process."""
        if self.is_running:
            os.kill(self.pid, number)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the group at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def children(self) -> list[int]:
        """Return the processes of its pool."""
        try:
            return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        except psutil.Error:
            return []

    def kill(self) -> None:
        """End all processes of the group at once."""
        if self._running is not None:
            self.signal_all(signal.SIGKILL)
            self._running.wait()

    def kill_main(self) -> None:
        """End the main process only; its pool has to notice."""
        self.send(signal.SIGKILL)
        self._wait(_STOP_SECONDS)

    def stop(self, number: signal.Signals) -> bool:
        """Ask the main process to stop, and kill it when it does not. Return whether it stopped."""
        self.send(number)
        stopped = self._wait(_STOP_SECONDS)
        self.kill()
        return stopped

    def note_exit(self) -> bool:
        """Return whether it has ended by itself, and note that."""
        if self._running is None or (code := self._running.poll()) is None:
            return False
        self.exits.append(
            f"{self.name} ended by itself with {code}: {self._output()[-_TAIL_BYTES:].decode(errors='replace')}"
        )
        return True

    def leftovers(self) -> list[int]:
        """Return the processes of earlier groups that still run."""
        current = self.groups[-1:] if self.is_running else []
        pids = []
        for each in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(each.pid) in self.groups and os.getpgid(each.pid) not in current:
                    pids.append(each.pid)
        return pids

    def end(self) -> None:
        """End whatever runs, also of earlier groups."""
        self.kill()
        for pid in self.leftovers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _output(self) -> bytes:
        with self.log.open("rb") as log:
            log.seek(self._offset)
            return log.read()

    def _wait(self, seconds: float) -> bool:
        assert self._running is not None
        try:
            self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
