"""A Flask application with Celery, as Flask's documentation describes it."""

from celery import Celery, Task
from flask import Flask


def create_app() -> Flask:
    """Create the Flask application and its Celery application."""
    app = Flask(__name__)
    app.config.from_mapping(
        CURRENCY="EUR",
        CELERY={
            "broker_url": "redis://localhost",
            "result_backend": "redis://localhost",
            "task_ignore_result": True,
        },
    )
    app.config.from_prefixed_env()
    celery_init_app(app)

    from . import views  # noqa: PLC0415 - as in Flask's documentation

    app.register_blueprint(views.bp)
    return app


def celery_init_app(app: Flask) -> Celery:
    """Create a Celery application whose tasks run in the context of the Flask application."""

    class FlaskTask(Task):
        """A task that runs in the context of the Flask application."""

        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app
