"""A Django project with Celery, as Celery's documentation describes it."""

from .celery import app as celery_app

__all__ = ("celery_app",)
