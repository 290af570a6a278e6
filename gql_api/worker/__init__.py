"""Everything that runs inside a Celery worker or a program that sends tasks. The API never imports this wing."""
