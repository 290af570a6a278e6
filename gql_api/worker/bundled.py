"""The bundled task function: a task of any length, for trying the API."""

from __future__ import annotations

import time
from typing import Any

from celery import shared_task

from gql_api.worker.app.task import Task


@shared_task(bind=True, name="long_running_task")
def long_running_task(self: Task, task_input: Any, seconds: float = 30) -> str:
    """Work for some seconds, reporting progress every second, and return a sentence with the input."""
    started = time.monotonic()
    self.log("Working %g seconds on %s", seconds, task_input)
    for done in range(int(seconds)):
        self.report_progress(done, seconds, f"{done} of {seconds:g} seconds")
        time.sleep(max(0.0, started + done + 1 - time.monotonic()))
    time.sleep(max(0.0, started + seconds - time.monotonic()))
    self.report_progress(seconds, seconds, "done")
    self.log("Done")
    return f"Worked {seconds:g} seconds on {task_input}"
