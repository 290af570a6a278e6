"""The Celery classes and bootsteps that `adopt` plugs into the workers of an application."""
