"""The Celery application of this checkout: ``celery -A jobs worker``. Nothing imports this package."""
