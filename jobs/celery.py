"""The Celery app that workers run: ``celery -A jobs worker``."""

from __future__ import annotations

from celery import Celery

from jobs.announce import Announcer
from jobs.dispatch import protocol_config
from jobs.settings import Settings

settings = Settings.load()

app = Celery("jobs", task_cls="jobs.task:Task", backend="jobs.backend:Backend")
app.conf.update(
    protocol_config(settings),
    include=settings.task_modules,
    # A message is acknowledged after its task, so that the broker gives it to another worker when this one is lost.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_track_started=True,
    # While MongoDB is away a worker holds what it has to tell, and tells it when MongoDB is back.
    result_backend_always_retry=True,
    result_backend_max_sleep_between_retries_ms=2000,
    result_backend_thread_safe=True,
    result_expires=None,
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)
app.steps["worker"].add(Announcer)
