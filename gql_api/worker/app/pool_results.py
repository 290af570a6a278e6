"""Results of pool processes that are read in part when the worker loses its broker: they are read on afterwards.

The event loop reads a large result, such as that of a retry with its traceback, by a generator. Celery resets the loop
when a connection to the broker is lost, and forgets the generator with what it has read. It would take the rest of the
result for the next one, which ends the worker.

Celery may also stop reading from a process: it takes an OSError of the callback of a result for one of the pipe. The
process would get no further task, so its pipe is read again a moment later.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator
from typing import Any

from celery import bootsteps

logger = logging.getLogger(__name__)

Reading = Generator[None, None, None]

_CHECK_SECONDS = 1.0


class KeepPartialResults(bootsteps.StartStopStep):
    """A bootstep that lets a prefork worker read on after a reset. Other pools have no pipes to read."""

    requires = ("celery.worker.components:Pool",)
    _readings: _Readings | None = None

    def start(self, parent: Any) -> None:
        """Replace the pool's methods before the event loop uses them."""
        pool: Any = getattr(parent.pool, "_pool", None)
        handler: Any = getattr(pool, "_result_handler", None)
        if hasattr(handler, "_recv_message"):
            readings = self._readings = _Readings(handler)
            handler._recv_message = readings.begin_or_continue  # noqa: SLF001 - Celery's name
            handler._finish_partial_read = readings.finish  # noqa: SLF001 - as above
            pool.process_flush_queues = readings.flusher(pool.process_flush_queues)

    def register_with_event_loop(self, parent: Any, hub: Any) -> None:  # noqa: ARG002 - the bootstep's signature
        """Check the pipes again and again, as long as the event loop runs until its next reset."""
        if self._readings is not None:
            hub.call_repeatedly(_CHECK_SECONDS, self._readings.resume, hub)


class _Readings:
    """The results that are being read, by the file descriptor of the pipe and the process that writes to it."""

    def __init__(self, handler: Any) -> None:
        self._processes: dict[int, Any] = handler.fileno_to_outq
        self._handler = handler
        self._begin = handler._recv_message  # noqa: SLF001 - Celery's name
        self._finish = handler._finish_partial_read  # noqa: SLF001 - as above
        self._readings: dict[int, tuple[Any, Reading]] = {}

    def begin_or_continue(self, add_reader: Callable[..., None], fd: int, *rest: Any) -> Reading:
        """Return the generator that reads the result at hand."""
        process = self._processes.get(fd)
        reading = self._of(fd, process)
        if reading is None:
            reading = self._until_read(fd, process, self._begin(add_reader, fd, *rest))
            self._readings[fd] = process, reading
        return reading

    def finish(self, fd: int, process: Any) -> bool:
        """Read a result to its end when the worker stops, as Celery does with those that its event loop still knows."""
        reading, hub = self._of(fd, process), self._handler._hub  # noqa: SLF001 - Celery's name
        if reading is not None and hub is not None:
            hub.add_reader(fd, reading)
        return bool(self._finish(fd, process))

    def resume(self, hub: Any) -> None:
        """Let the event loop read the pipes of living processes that it does not read."""
        for fd in [fd for fd in self._processes if fd not in hub.readers]:
            with contextlib.suppress(OSError, ValueError):  # the process has ended
                hub.add_reader(fd, self._handler.handle_event, fd)
                logger.warning("The results of a pool process were not read any more, and are again")

    def flusher(self, flush: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a replacement for the method that reads what a process has written that is gone."""

        def flush_unless_partial(process: Any) -> None:
            reading = self._of(process.outqR_fd, process)
            try:
                if reading is not None:
                    next(reading)
            except StopIteration:
                pass  # it is read to its end, others may follow
            except (OSError, EOFError):
                return
            else:
                if reading is not None:
                    return  # the rest never comes
            flush(process)

        return flush_unless_partial

    def _of(self, fd: int, process: Any) -> Reading | None:
        # Another process may have got the number of a closed pipe.
        owner, reading = self._readings.get(fd, (None, None))
        return reading if owner is process else None

    def _until_read(self, fd: int, process: Any, reading: Reading) -> Reading:
        try:
            yield from reading
        finally:
            if self._of(fd, process) is not None:
                del self._readings[fd]
