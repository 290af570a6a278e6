"""The messages of tasks as bytes, without the work that Celery and kombu do again for each of them."""
