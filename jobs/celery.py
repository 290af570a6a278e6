"""The Celery application of :mod:`gql_api.celery`, with the task functions of this checkout."""

from __future__ import annotations

from gql_api.celery import app, settings

__all__ = ["app"]

if "task_modules" not in settings.model_fields_set:
    app.conf.include = ("jobs.tasks",)
