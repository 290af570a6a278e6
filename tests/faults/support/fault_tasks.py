"""Task functions for the fault ring. Each run writes down that it began and that it returned, beside all databases."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery import chain, chord, group, shared_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded, WorkerShutdown
from celery.signals import before_task_publish, worker_ready

from gql_api.worker.app.task import Task


@contextlib.contextmanager
def _written_down(self: Task) -> Iterator[None]:
    _write("begin", self)
    yield
    _write("end", self)


def _write(event: str, task: Task) -> None:
    # One short line by one write: lines of several processes do not mix.
    line = f"{event} {task.request.id} {task.name.rpartition('.')[2]} {os.getpid()} {task.request.hostname}\n"
    file = os.open(os.environ["EXECUTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


@shared_task(bind=True)
def work(self: Task, seconds: float = 0.0, result: Any = None) -> Any:
    """Take some time."""
    with _written_down(self):
        time.sleep(seconds)
    return result


@shared_task(bind=True)
def hold(self: Task, file: str, result: Any = None) -> Any:
    """Return when a file is there."""
    return _return_when_there_is(self, file, result)


@shared_task(bind=True)
def log_lines(self: Task, file: str, lines: int) -> None:
    """Log lines, each once the file has that many; begin again when it begins again."""
    with _written_down(self):
        for line in range(lines):
            while not os.path.exists(file) or os.path.getsize(file) <= line:  # noqa: PTH110, PTH202 - the cheapest call
                time.sleep(0.01)
            self.log(f"line {line}")


@shared_task(bind=True)
def report_then_hold(self: Task, report: str, end: str) -> None:
    """Report progress when the first file is there, and return when the second is."""
    with _written_down(self):
        _wait_for(report)
        self.report_progress(1)
        _wait_for(end)


def _wait_for(file: str) -> None:
    while not os.path.exists(file):  # noqa: PTH110 - the cheapest call
        time.sleep(0.01)


@shared_task(bind=True)
def poison(self: Task) -> None:
    """Take its process down."""
    with _written_down(self):
        os.kill(os.getpid(), signal.SIGKILL)


@shared_task(bind=True)
def stop_worker(self: Task) -> None:
    """Take its worker down, if that is a solo worker."""
    with _written_down(self):
        raise WorkerShutdown


@shared_task(bind=True, max_retries=3)
def retry_once(self: Task, countdown: float) -> str:
    """Ask for one retry."""
    with _written_down(self):
        if self.request.retries == 0:
            raise self.retry(countdown=countdown)
    return "retried"


@shared_task(bind=True)
def replace_me(self: Task, seconds: float) -> Any:
    """Let a chain do the work."""
    with _written_down(self):
        return self.replace(chain(work.si(seconds), work.si(seconds, "replaced")))


@shared_task(bind=True)
def replace_keywords(self: Task, *, seconds: float) -> Any:
    """Let a chain do the work whose last step has no keyword arguments."""
    with _written_down(self):
        return self.replace(chain(work.si(0.0), work.si(seconds, "replaced")))


@shared_task(bind=True)
def send_later(self: Task, countdown: float, expires: float) -> list[str]:
    """Send a task that starts later, and one that may expire, and return their ids."""
    with _written_down(self):
        return [total.apply_async(([1],), **when).id for when in ({"countdown": countdown}, {"expires": expires})]


@shared_task(bind=True)
def replace_by_work(self: Task, countdown: float) -> Any:
    """Let one other task do the work, now or later, on a queue of its own."""
    with _written_down(self):
        return self.replace(work.si(0.0, "by work").set(countdown=countdown or None, queue="nobody"))


@shared_task(bind=True)
def total(self: Task, numbers: list[int]) -> int:
    """Add up."""
    with _written_down(self):
        return sum(numbers)


@shared_task(bind=True)
def start_chord(self: Task, seconds: float, members: int) -> str:
    """Send a chord and return the id of its body."""
    with _written_down(self):
        body = chord([work.si(seconds, n) for n in range(members)], total.s()).apply_async()
    return str(body.id)


@shared_task(bind=True, ignore_result=True)
def return_and_die(self: Task, result: int) -> int:
    """Return, and take the process down after the result is stored and before the chord counts it."""
    with _written_down(self):
        self.backend.on_chord_part_return = _die  # type: ignore[method-assign] # the process is gone thereafter
    return result


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(bind=True)
def send_next_and_die(self: Task, file: str) -> None:
    """Return, and take the process down once the next step is sent; the second time, wait for a file first."""
    with _written_down(self):
        if self.metadata.get("has_died"):
            _wait_for(file)
        else:
            self.update_metadata({"has_died": True})
            self.backend.mark_as_done = _die  # type: ignore[method-assign] # the process is gone thereafter


@shared_task(bind=True)
def start_chain_of_dying(self: Task, file: str) -> list[str]:
    """Send a chain of a step that dies and another step, and return the ids of both."""
    with _written_down(self):
        last = chain(send_next_and_die.si(file), work.si()).apply_async()
    return [str(last.parent.id), str(last.id)]


@shared_task(bind=True)
def start_chord_of_dying(self: Task, members: int) -> str:
    """Send a chord of members that die and return the id of its body."""
    with _written_down(self):
        body = chord([return_and_die.si(n) for n in range(members)], total.s()).apply_async()
    return str(body.id)


@shared_task(bind=True)
def start_chain(self: Task, file: str) -> list[str]:
    """Send a chain of a step that returns when a file is there, a group and a last step.

    Return the ids of the first and the last.
    """
    with _written_down(self):
        steps = chain(hold.si(file, 1), group(work.si(0, 1), work.si(0, 2)), total.s())
        last = steps.apply_async()
    return [str(last.parent.parent.id), str(last.id)]


@shared_task(bind=True)
def start_late_chain(self: Task, countdown: float) -> list[str]:
    """Send a chain that begins later, and return the ids of its steps."""
    with _written_down(self):
        last = chain(work.si(0.0, 1), work.si(0.0, 2)).apply_async(countdown=countdown)
    return [str(last.parent.id), str(last.id)]


@shared_task(bind=True)
def start_linked(self: Task, file: str) -> str:
    """Send a task that returns when a file is there, with a callback, and return the id of the task."""
    with _written_down(self):
        return str(hold.apply_async((file,), link=total.si([1, 2])).id)


def _return_when_there_is(self: Task, file: str, result: Any) -> Any:
    with _written_down(self):
        _wait_for(file)
    return result


@shared_task(bind=True, soft_time_limit=3)
def return_before_soft_limit(self: Task, file: str) -> Any:
    """Return when a file is there, before the time limit."""
    return _return_when_there_is(self, file, "in time")


@shared_task(bind=True, time_limit=3)
def return_before_hard_limit(self: Task, file: str) -> Any:
    """Return when a file is there, before the hard time limit."""
    return _return_when_there_is(self, file, "in time")


@shared_task(bind=True, time_limit=1)
def short(self: Task) -> None:
    """Return at once, with a hard time limit that others do not have."""
    with _written_down(self):
        pass


@shared_task(bind=True, time_limit=1)
def runaway(self: Task) -> None:
    """Run into the hard time limit."""
    with _written_down(self):
        time.sleep(60)


@shared_task(bind=True, soft_time_limit=1)
def interrupted(self: Task) -> Any:
    """Run into the soft time limit, and return it."""
    with _written_down(self):
        try:
            time.sleep(60)
        except SoftTimeLimitExceeded:
            return self.soft_time_limit
    return "not interrupted"


@shared_task(bind=True)
def reject_once(self: Task, file: str) -> str:
    """Put the message back until a file is there."""
    with _written_down(self):
        if not os.path.exists(file):  # noqa: PTH110 - the cheapest call
            Path(file).touch()
            raise Reject(requeue=True)
    return "accepted"


@shared_task(bind=True)
def until_cancelled(self: Task) -> None:
    """Report progress until that raises."""
    with _written_down(self):
        while True:
            self.report_progress(1)
            time.sleep(0.05)


@shared_task(bind=True, ignore_result=True)
def ignored(self: Task, file: str) -> Any:
    """Return a result that is ignored, when a file is there."""
    return _return_when_there_is(self, file, "ignored")


@shared_task(bind=True)
def send_before_and_after(self: Task, file: str) -> str:
    """Send a task, and another when there is a file, and return the id of that one."""
    with _written_down(self):
        work.apply_async((0.0,))
        _wait_for(file)
        return str(work.apply_async((0.0,)).id)


@shared_task(bind=True)
def count(self: Task, file: str) -> int:
    """Increment a number in the task's own metadata when there is a file, and return it."""
    with _written_down(self):
        _wait_for(file)
        return int(self.update_metadata(increment={"count": 1})["count"])


@shared_task(bind=True, max_retries=None)
def retry_after_error(self: Task, times: int) -> int:
    """Ask for so many retries at once, each because of an error, and return how many there were."""
    if self.request.retries < times:
        try:
            _fail(self.request.retries)
        except ValueError as error:
            raise self.retry(exc=error, countdown=0) from error
    return int(self.request.retries)


@shared_task(bind=True)
def fail_at_length(self: Task, length: int) -> None:
    """Raise an error with a long text, which goes through the pipe to the worker's main process."""
    with _written_down(self):
        raise ValueError("x" * length)


@shared_task
def fail(error: str) -> None:
    """Raise an error, or what ends the task without an outcome."""
    raise {"ValueError": ValueError, "Ignore": Ignore, "Reject": Reject}[error]


def _fail(number: int) -> None:
    raise ValueError(number)


@shared_task
def collect_garbage() -> int:
    """Return the number of objects in reference cycles that this process has left behind; from now on it keeps them."""
    gc.disable()
    return gc.collect()


@shared_task(bind=True, rate_limit="12/m")
def limited_to_twelve_per_minute(self: Task) -> None:
    """Run every five seconds at most."""
    with _written_down(self):
        pass


@shared_task(bind=True, rate_limit="1/h")
def limited_to_one_per_hour(self: Task) -> None:
    """Run every hour at most."""
    with _written_down(self):
        pass


@shared_task(bind=True, rate_limit="5/s")
def limited_to_five_per_second(self: Task) -> None:
    """Run five times a second at most."""
    with _written_down(self):
        pass


@shared_task(bind=True, rate_limit="30/m")
def limited_retry(self: Task) -> int:
    """Ask for two retries at once."""
    with _written_down(self):
        if self.request.retries < 2:
            raise self.retry(countdown=0)
    return int(self.request.retries)


@shared_task(bind=True, record=False)
def unseen(self: Task, way: str = "return", file: str = "") -> None:
    """Run without a record, and perhaps take the process down the first time, or hang."""
    with _written_down(self):
        if way == "die" and not os.path.exists(file):  # noqa: PTH110 - the cheapest call
            Path(file).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if way == "hang":
            time.sleep(600)


@shared_task(bind=True)
def send_work(self: Task) -> str:
    """Send a task, and return its id."""
    with _written_down(self):
        return str(work.delay().id)


def _receive(**kwargs: Any) -> None:
    """Do nothing."""


@worker_ready.connect
def hold_lock(**kwargs: Any) -> None:  # noqa: ARG001 - the signal's arguments
    """Let a thread of the main process hold the lock of publishing for good, as soon as there is the file HOLD_LOCK."""

    def hold(file: str) -> None:
        _wait_for(file)
        with before_task_publish.lock:
            Path(file).with_suffix(".held").touch()
            threading.Event().wait()

    if file := os.environ.get("HOLD_LOCK"):
        # Celery takes the lock only if there is a receiver, as those of monitoring services.
        before_task_publish.connect(_receive)
        threading.Thread(target=hold, args=(file,), daemon=True).start()
