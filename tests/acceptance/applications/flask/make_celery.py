"""The module that workers load: ``celery -A make_celery worker``."""

from example_app import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]
