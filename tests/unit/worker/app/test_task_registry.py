"""The task classes of an adopted application: its own, with our methods."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import celery
import pytest
from celery import Celery, _state, shared_task
from celery.app.registry import TaskRegistry

from gql_api.adopt import Task, adopt
from gql_api.worker.attempts.claims import Claiming, cover

_DJANGO = """
from celery import Celery
from gql_api.adopt import Task, adopt

app = adopt(Celery("shop", set_as_current=False))

@app.task(shared=False)
def price(): ...

print(isinstance(price, Task), price.delay_on_commit.__name__, price.apply_async_on_commit.__name__)
"""


@pytest.fixture(autouse=True)
def _forget_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tasks of a test out of the applications of others: Celery shares them among all of a process."""
    finalizers = _state._on_app_finalizers  # noqa: SLF001 - Celery has no other way to forget a shared task
    monkeypatch.setattr(_state, "_on_app_finalizers", set(finalizers))


class Context(celery.Task):  # type: ignore[misc] # Celery has no types
    """A task class as Flask's documentation has it."""

    entered = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Enter the application's context, then run the function."""
        type(self).entered += 1
        return self.run(*args, **kwargs)


class Own(celery.Task):  # type: ignore[misc] # Celery has no types
    """A task class that has some of our names already."""

    def __init__(self) -> None:
        self.metadata = {"own": True}

    def log(self, text: str) -> str:
        """Return what the class makes of a text."""
        return f"own {text}"


class ContextApp(Celery):  # type: ignore[misc] # Celery has no types
    """An application whose class sets the class of its tasks."""

    task_cls = Context


def _set_later(name: str) -> Celery:
    """Make an application as Flask's documentation once did."""
    app = Celery(name, set_as_current=False)
    app.Task = Context
    return app


@pytest.mark.parametrize(
    "make",
    [
        lambda name: Celery(name, task_cls=Context, set_as_current=False),
        lambda name: Celery(name, task_cls=f"{__name__}:Context", set_as_current=False),
        lambda name: ContextApp(name, set_as_current=False),
        _set_later,
    ],
    ids=["as a class", "as text", "by a subclass", "set later"],
)
def test_the_task_class_of_an_application_stays(make: Callable[[str], Celery]) -> None:
    """A task runs by the class of its application, wherever that is set, and has our methods."""
    app = adopt(make("shop"))

    @app.task(bind=True, shared=False)  # type: ignore[untyped-decorator] # Celery's
    def price(self: Task, article: str) -> str:
        self.report_progress(1, 2)
        self.log("priced")
        self.update_metadata({"a": 1})
        return f"{article} {self.metadata} {self.is_cancelled()}"

    assert price("tea") == "tea {} False"
    assert isinstance(price, Task)
    assert price.__class__.entered == 1


def test_every_way_to_make_a_task_gives_it_our_methods() -> None:
    """A base of one task, a shared task, a task class, a task with retries, and one that is registered directly."""
    app = adopt(Celery("shop", set_as_current=False))

    @shared_task(base=celery.Task, name="made.shared")  # type: ignore[untyped-decorator] # Celery's
    def shared() -> None: ...

    @app.task(base=celery.Task, name="made.based", autoretry_for=(ValueError,), shared=False)  # type: ignore[untyped-decorator] # Celery's
    def based() -> None:
        """Do nothing."""

    class Made(celery.Task):  # type: ignore[misc] # Celery has no types
        name = "made.by_class"

        def run(self) -> None: ...

    class Registered(Made):
        name = "made.registered"

    app.register_task(Made)
    app.tasks.register(Registered)
    made = [task for name, task in app.tasks.items() if name.startswith("made.")]
    assert len(made) == 4
    assert all(isinstance(task, Task) for task in made)
    assert app.tasks["made.based"].__doc__ == "Do nothing."
    assert shared.name == "made.shared"


def test_what_a_class_defines_itself_wins() -> None:
    """A method and an attribute of the user's class hide ours of the same name; the others are there."""
    app = adopt(Celery("shop", set_as_current=False))

    @app.task(base=Own, bind=True, shared=False)  # type: ignore[untyped-decorator] # Celery's
    def price(self: Any) -> Any:
        before = self.metadata
        self.metadata = {"set": "by the function"}
        return self.log("text"), before, self.metadata, self.update_metadata({"a": 1}), self.is_cancelled()

    assert price() == ("own text", {"own": True}, {"set": "by the function"}, {}, False)


def test_a_class_of_its_own_cannot_bypass_the_claim() -> None:
    """A worker puts the claim before the user's class and our methods behind it."""
    app = adopt(Celery("shop", task_cls=Context, set_as_current=False))

    @app.task(base=Own, shared=False)  # type: ignore[untyped-decorator] # Celery's
    def price() -> None: ...

    cover(app)
    names = [kind.__name__ for kind in price.__class__.__mro__]
    assert names.index(Claiming.__name__) < names.index("Own") < names.index("Task")


def test_celery_sets_its_class_for_django() -> None:
    """A task of a Django project can be sent when the transaction is committed."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "shop.settings"}
    done = subprocess.run([sys.executable, "-c", _DJANGO], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "delay_on_commit", "apply_async_on_commit"], done.stderr


def test_a_registry_of_its_own_stays() -> None:
    """An application may have a class of its own for its registry; adopting twice changes nothing more."""

    class Registry(TaskRegistry):  # type: ignore[misc] # Celery has no types
        pass

    registry = Registry()
    app = adopt(adopt(Celery("shop", tasks=registry, set_as_current=False)))
    assert app.tasks is registry
    assert isinstance(registry, Registry)


def test_tasks_that_exist_already_are_refused() -> None:
    """A task that was made before ``adopt`` has none of our settings."""
    app = Celery("shop", set_as_current=False)

    @app.task(lazy=False, shared=False)  # type: ignore[untyped-decorator] # Celery's
    def price() -> None: ...

    with pytest.raises(RuntimeError, match="right after making it"):
        adopt(app)
