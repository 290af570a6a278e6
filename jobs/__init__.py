"""A task's life: its record, the Celery app that runs it, the backend that keeps it and the events that tell of it.

Nothing is imported here: the API loads the contract half only, and ``celery -A jobs`` finds ``jobs.celery`` by itself.
"""
