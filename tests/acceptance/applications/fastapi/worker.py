"""The Celery application of a FastAPI application, as a well-known tutorial has it."""

import os
import time

from celery import Celery

celery = Celery(__name__)
celery.conf.broker_url = os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379")
celery.conf.result_backend = os.environ.get("CELERY_RESULT_BACKEND", "redis://localhost:6379")


@celery.task(name="create_task")
def create_task(task_type: int) -> bool:
    """Take a while."""
    time.sleep(int(task_type) * 0.1)
    return True
