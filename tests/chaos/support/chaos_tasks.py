"""Task functions of the chaos test. Each run appends what it really did to a side file that no fault touches."""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

from celery import chain, chord, group, shared_task

from gql_api.worker.app.task import Task
from gql_api.worker.state.attempt import attempt_of

_BEAT_SECONDS = 0.2
_MAX_RETRIES = 20


class Recorder:
    """The lines of one run of a task function. All lines carry a token that no other run has."""

    def __init__(self, task: Task) -> None:
        request = task.request
        self.token = uuid.uuid4().hex[:12]
        self.attempt = attempt_of(request).number
        self._run = {
            "id": request.id,
            "function": task.name.rpartition(".")[2],
            "attempt": self.attempt,
            "token": self.token,
            "retries": request.retries,
            "worker": str(request.hostname).partition("@")[0],
            "pid": os.getpid(),
        }

    def write(self, event: str, **values: Any) -> None:
        """Append a line by one write, so that lines of several processes do not mix."""
        line = json.dumps({"at": time.monotonic(), "event": event, **self._run, **values}) + "\n"
        file = os.open(os.environ["EXECUTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line.encode())
        os.close(file)

    def pass_time(self, seconds: float) -> None:
        """Take some time, and write that the run is alive."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _BEAT_SECONDS))
            self.write("beat")

    def result(self, value: Any, **values: Any) -> dict[str, Any]:
        """Return a result that names its run."""
        return {"value": value, "token": self.token, **values}


@contextlib.contextmanager
def _recorded(task: Task) -> Iterator[Recorder]:
    recorder = Recorder(task)
    recorder.write("begin")
    try:
        yield recorder
    except BaseException as error:
        recorder.write("raised", error=type(error).__name__, message=str(error))
        raise
    recorder.write("end")


@shared_task(bind=True)
def work(
    self: Task,
    seconds: float = 0.0,
    value: Any = None,
    effects: int = 0,
    lines: int = 0,
    fail: bool = False,
) -> dict[str, Any]:
    """Take some time; report progress, log and change the metadata meanwhile."""
    with _recorded(self) as run:
        steps = max(effects, lines, 1)
        for step in range(steps):
            run.pass_time(seconds / steps)
            self.report_progress(step + 1, steps, run.token)
            if step < lines:
                self.log(f"{run.attempt} {run.token} {step}")
            if step < effects:
                run.write("try", step=step)
                self.update_metadata(increment={"ticks": 1}, append={"effects": [run.attempt, run.token, step]})
                run.write("effect", step=step)
        if fail:
            raise ValueError("asked to fail")
    return run.result(value)


@shared_task(bind=True, max_retries=_MAX_RETRIES)
def retrying(self: Task, times: int, countdown: float) -> dict[str, Any]:
    """Ask for some retries, and return their number."""
    with _recorded(self) as run:
        if self.request.retries < times:
            run.write("retry")
            raise self.retry(countdown=countdown)
    return run.result(self.request.retries)


@shared_task(bind=True)
def replaced(self: Task, seconds: float, value: int) -> Any:
    """Let a chain do the work; its last part runs under this task's id."""
    with _recorded(self):
        # By position: the message of the last part has no keyword arguments, and must not get those of this call.
        return self.replace(chain(work.si(seconds), work.si(seconds, value)))


@shared_task(bind=True)
def plus(self: Task, before: dict[str, Any], more: int, seconds: float = 0.0) -> dict[str, Any]:
    """Add a number to the value of the step before."""
    with _recorded(self) as run:
        run.pass_time(seconds)
    return run.result(before["value"] + more)


@shared_task(bind=True)
def total(self: Task, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up the values of the members of a chord."""
    with _recorded(self) as run:
        pass
    return run.result(sum(part["value"] for part in parts), parts=len(parts))


@shared_task(bind=True)
def start_chain(self: Task, seconds: float) -> dict[str, Any]:
    """Send a chain of three steps."""
    with _recorded(self) as run:
        steps = chain(work.si(seconds=seconds, value=1), plus.s(more=10, seconds=seconds), plus.s(more=100))
        last = steps.apply_async()
        sent = {last.parent.parent.id: 1, last.parent.id: 11, last.id: 111}
        run.write("sent", values=sent)
    return run.result(None, sent=sent)


@shared_task(bind=True)
def start_group(self: Task, members: int, seconds: float) -> dict[str, Any]:
    """Send a group."""
    with _recorded(self) as run:
        results = group([work.si(seconds=seconds, value=n) for n in range(members)]).apply_async().results
        sent = {result.id: n for n, result in enumerate(results)}
        run.write("sent", values=sent)
    return run.result(None, sent=sent)


@shared_task(bind=True)
def start_chord(self: Task, members: int, seconds: float) -> dict[str, Any]:
    """Send a chord."""
    with _recorded(self) as run:
        body = chord([work.si(seconds=seconds, value=n) for n in range(members)], total.s()).apply_async()
        sent = {result.id: n for n, result in enumerate(body.parent.results)} | {body.id: sum(range(members))}
        run.write("sent", values=sent)
    return run.result(None, sent=sent)


@shared_task(bind=True)
def start_children(self: Task, seconds: float, countdown: float, expires: float) -> dict[str, Any]:
    """Send one child for now, one for later and one that expires."""
    with _recorded(self) as run:
        sent = {}
        for value, options in enumerate([{}, {"countdown": countdown}, {"expires": expires}]):
            since = time.monotonic()
            child = work.si(seconds=0.0, value=value).apply_async(**options)
            run.write("sent", values={child.id: value}, since=since, **options)
            sent[child.id] = value
        run.pass_time(seconds)
    return run.result(None, sent=sent)


@shared_task(bind=True)
def until_cancelled(self: Task, seconds: float) -> dict[str, Any]:
    """Report progress until that raises."""
    with _recorded(self) as run:
        for step in range(int(seconds / 0.1)):
            run.pass_time(0.1)
            self.report_progress(step, None, run.token)
    return run.result("was not cancelled")
