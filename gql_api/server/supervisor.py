"""The processes of ``gql-api serve --workers``: started, replaced when they die, and stopped together."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from types import FrameType

from gql_api.aio.background import Backoff

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_BACKOFF = Backoff()
# A forked process has all imports at once, and shares their memory.
_fork = multiprocessing.get_context("fork")

Serve = Callable[[int, Callable[[], None]], None]
"""Serves in a process of its own: called with the number of the process, and what to call when it has started."""


@dataclass
class _Worker:
    number: int
    process: ForkProcess
    started: Connection
    began: float
    has_started: bool = False


class Supervisor:
    """The processes that serve one port, and the signals for all of them.

    The first process starts alone, so that a start that must fail does so once. A process that dies later is replaced:
    at once, or with growing delays while its replacements die soon.

    Args:
        serve: serves in a process of its own, until SIGTERM; its end before it has started ends all.
        count: the number of processes.
        on_end: called with the number of a process that has ended.
        on_stop: called when the processes are about to stop.
    """

    def __init__(self, serve: Serve, count: int, *, on_end: Callable[[int], None], on_stop: Callable[[], None]) -> None:
        self._serve = serve
        self._count = count
        self._on_end = on_end
        self._on_stop = on_stop
        self._workers: dict[int, _Worker] = {}
        # By the number of a process that has died: how many have died soon, and when the next one starts.
        self._deaths: dict[int, int] = {}
        self._due: dict[int, float] = {}
        self._is_serving = False
        self._stopped_by: signal.Signals | None = None

    def run(self) -> signal.Signals:
        """Run the processes until a signal has stopped them, and return it.

        Raises:
            SystemExit: the first process has not started; its own output has the reason.
        """
        with _caught_signals() as signals:
            try:
                self._start(0)
                while self._stopped_by is None or self._workers:
                    self._wait(signals)
            finally:
                for worker in self._workers.values():
                    worker.process.kill()
        return self._stopped_by

    def _start(self, number: int) -> None:
        started, starting = _fork.Pipe(duplex=False)
        process = _fork.Process(target=_run, args=(self._serve, number, starting), name=f"gql-api serve {number}")
        # A signal that arrives before the process has handlers of its own must not be lost in it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        starting.close()
        self._workers[number] = _Worker(number, process, started, time.monotonic())

    def _wait(self, signals: socket.socket) -> None:
        """Wait for a signal, a start, a death, or the time of a replacement, and handle it."""
        timeout = None if not self._due else max(0.0, min(self._due.values()) - time.monotonic())
        starting = [worker.started for worker in self._workers.values() if not worker.has_started]
        sentinels = [worker.process.sentinel for worker in self._workers.values()]
        ready = set(wait([signals, *starting, *sentinels], timeout))
        if signals in ready:
            for number in signals.recv(64):
                self._stop(signal.Signals(number))
        for worker in list(self._workers.values()):
            if not worker.has_started and worker.started in ready:
                self._note_start(worker)
            if worker.process.sentinel in ready:
                self._note_end(worker)
        for number in [number for number, due in self._due.items() if due <= time.monotonic()]:
            del self._due[number]
            self._start(number)

    def _note_start(self, worker: _Worker) -> None:
        try:
            worker.started.recv()
        except EOFError:  # the process has ended, which its sentinel shows
            return
        worker.has_started = True
        if not self._is_serving and self._stopped_by is None:
            self._is_serving = True
            self._due = dict.fromkeys(range(1, self._count), time.monotonic())

    def _note_end(self, worker: _Worker) -> None:
        worker.process.join()
        worker.started.close()
        del self._workers[worker.number]
        self._on_end(worker.number)
        if self._stopped_by is not None:
            return
        code = worker.process.exitcode or 0
        if not self._is_serving:
            sys.exit(code if code > 0 else 1)
        has_lived = time.monotonic() - worker.began >= _BACKOFF.healthy_seconds
        deaths = self._deaths[worker.number] = 0 if has_lived else self._deaths.get(worker.number, -1) + 1
        delay = _BACKOFF.delay(deaths) if deaths else 0.0
        self._due[worker.number] = time.monotonic() + delay
        end = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with the exit code {code}"
        logger.error("Process %d was %s; another one starts in %.1f s", worker.process.pid, end, delay)

    def _stop(self, received: signal.Signals) -> None:
        """Let the processes finish their open requests; a second Ctrl-C ends these too."""
        is_first = self._stopped_by is None
        if is_first:
            self._stopped_by = received
            self._due.clear()
            self._on_stop()
        for worker in self._workers.values():
            # A process that has ended keeps its id until it is joined.
            os.kill(worker.process.pid or 0, signal.SIGTERM if is_first else received)


@contextlib.contextmanager
def _caught_signals() -> Iterator[socket.socket]:
    """Yield a socket from which the numbers of signals can be read, each a byte."""
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    # nohup ignores SIGHUP.
    caught = [each for each in _SIGNALS if each is not signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]
    before = {number: signal.signal(number, _ignore) for number in caught}
    previous = signal.set_wakeup_fd(writing.fileno())
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        reading.close()
        writing.close()


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: Python writes the number of a signal that has a handler to the socket."""


def _run(serve: Serve, number: int, starting: Connection) -> None:
    """Serve in a new process, which begins with the handlers and the blocked signals of the supervisor."""
    signal.set_wakeup_fd(-1)
    for caught in _SIGNALS:
        if signal.getsignal(caught) is _ignore:
            signal.signal(caught, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    serve(number, lambda: starting.send(None))
