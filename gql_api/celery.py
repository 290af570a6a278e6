"""The Celery application of workers: ``celery -A gql_api worker``."""

from __future__ import annotations

from celery import Celery

from gql_api.adopt import adopt
from gql_api.dispatch import protocol_config
from gql_api.settings import Settings

settings = Settings.load()

app = adopt(Celery("gql_api"))
app.conf.update(
    protocol_config(settings),
    include=settings.task_modules,
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)
