"""The Celery classes that ``adopt`` plugs into an application."""
