"""The Celery application of workers: ``celery -A gql_api worker``."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from celery import Celery

from gql_api.adopt import adopt
from gql_api.dispatch import protocol_config
from gql_api.settings import Settings


def _check_task_modules(names: Sequence[str]) -> None:
    """End the process with one line if a module does not exist; errors inside a module keep their traceback."""
    for name in names:
        try:
            exists = importlib.util.find_spec(name) is not None
        except ModuleNotFoundError as error:
            # One that the package of the module imports is another error.
            exists = error.name is None or not f"{name}.".startswith(f"{error.name}.")
        if not exists:
            raise SystemExit(f"Error: TASK_MODULES: there is no module {name!r}; modules are separated by commas")


settings = Settings.load_or_exit()
_check_task_modules(settings.task_modules)

app = adopt(Celery("gql_api"))
app.conf.update(
    protocol_config(settings),
    include=settings.task_modules,
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)
