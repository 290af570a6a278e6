"""The Celery app that workers run: ``celery -A jobs worker``."""

from __future__ import annotations

from celery import Celery

from jobs.adopt import adopt
from jobs.dispatch import protocol_config
from jobs.settings import Settings

settings = Settings.load()

app = adopt(Celery("jobs"))
app.conf.update(
    protocol_config(settings),
    include=settings.task_modules,
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)
