"""The same no-op task in a stock Celery app and in ours, and two of ours; all read the servers from the environment."""

from __future__ import annotations

import os

from celery import Celery, shared_task

from gql_api.adopt import Task, adopt
from gql_api.record import canvas, fields, logs
from gql_api.worker.backend.backend import Backend


def stock() -> Celery:
    """Create Celery's own app with its MongoDB backend and our settings: late acks, prefetch 1, starts tracked."""
    app = Celery("stock", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["STOCK_BACKEND"])
    app.conf.update(
        task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1, task_track_started=True
    )
    return app


def ours() -> Celery:
    """Create our app, with records, claims, history and events."""
    return adopt(Celery("ours", broker=os.environ["CELERY_BROKER_URL"]))


app = {"stock": stock, "ours": ours}[os.environ["SIDE"]]()


@shared_task(name="noop")
def noop() -> None:
    """Do nothing."""


@shared_task(name="noop_log", bind=True)
def noop_log(self: Task) -> None:
    """Log a line."""
    self.log("a line")


@shared_task(name="noop_metadata", bind=True)
def noop_metadata(self: Task) -> None:
    """Change the metadata."""
    self.update_metadata({"step": 1})


def fill(functions: list[str], slices: int, tasks: int) -> None:
    """Send the tasks, each slice to a queue of its own, after creating our indexes, which the API would do."""
    if isinstance(app.backend, Backend):
        app.backend.collection.create_indexes([*fields.UNIQUE_INDEXES, *fields.INDEXES])
        app.backend.database[fields.CHORDS].create_indexes(canvas.INDEXES)
        app.backend.database[fields.TASK_LOGS].create_indexes(logs.INDEXES)
    for function in functions:
        for number in range(slices):
            for _ in range(tasks):
                app.send_task(function, queue=f"{os.environ['SIDE']}-{function}{number}")
