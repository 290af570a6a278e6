"""The wheel, installed beside projects that have a package or a Django app called `jobs`, without this checkout."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import built
import plain_http
import pytest
from databases import Databases
from ports import free_port
from support import ROOT, Api, NotWithinTimeError, process, wait_until

pytestmark = pytest.mark.slow

_WORKER = ["-m", "celery", "-A", "gql_api", "worker", "--concurrency=1", "--without-mingle"]
_OWN_TASKS = """
from celery import shared_task

from jobs import FACTOR


@shared_task
def double(number: int) -> int:
    return FACTOR * number
"""
_DJANGO_CELERY = """
import os

from celery import Celery

from gql_api.adopt import adopt

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
app = adopt(Celery("shop"))
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
_DJANGO_SETTINGS = """
INSTALLED_APPS.append("jobs")
CELERY_TASK_DEFAULT_QUEUE = "shop"
"""
_DJANGO_TASKS = """
from celery import shared_task

from gql_api.adopt import Task, TaskCancelledError


@shared_task(bind=True)
def price(self: Task, article: str) -> str:
    self.report_progress(1, 2, article)
    if article == "nothing":
        raise TaskCancelledError("sold out")
    return f"{article}: 9.50"
"""
_READS_NO_ENVIRONMENT = """
import sys

import gql_api

loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"celery", "strawberry", "starlette", "redis", "pymongo"}, loaded
assert {"Settings", "SettingsError", "Task", "TaskCancelledError", "create_app"} <= set(dir(gql_api))

from gql_api import Settings, SettingsError, Task, TaskCancelledError, create_app

assert "app" not in vars(sys.modules["gql_api.app"])
try:
    create_app()
except SettingsError as error:
    print(error)
"""


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel, its dependencies, and a project folder to run programs in."""

    folder: Path
    wheel: Path
    environment: dict[str, str]

    @property
    def python(self) -> str:
        """The interpreter of the environment."""
        return str(self.folder / "env" / "bin" / "python")

    def project(self, name: str) -> Path:
        """Create a folder for a project."""
        project = self.folder / name
        project.mkdir()
        return project

    def run(self, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the wheel, and return when it has ended."""
        return subprocess.run(
            [self.python, *arguments],
            cwd=cwd,
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel as `python -m build` does, and install it where the checkout is not on the path."""
    built.need_pages()
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder), "--target"]
    _done(*build, "sdist")
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    # The sdist has the pages: no npm is found, and none is needed.
    _done(*build, "wheel", cwd=folder / sdist.name.removesuffix(".tar.gz"), PATH="")
    (wheel,) = folder.glob("*.whl")
    _done(sys.executable, "-m", "venv", "--without-pip", str(folder / "env"))
    python = folder / "env" / "bin" / "python"
    _done(sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    # The dependencies. Python does not read the .pth files of this folder, one of which names the checkout.
    (site_packages,) = (folder / "env").glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    environment = {
        "MONGODB_URL": databases.mongodb.url,
        "MONGODB_DATABASE": "wheel",
        # The workers of other tests take the messages of database 0.
        "CELERY_BROKER_URL": databases.redis.url.removesuffix("/0") + "/1",
        "WORKER_HEARTBEAT_SECONDS": "1",
        "PYTHONPATH": "",
    }
    return Installed(folder, wheel, environment)


def _done(*command: str, cwd: Path = ROOT, **environment: str) -> None:
    env = {**os.environ, **environment}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(installed: Installed) -> Path:
    """A user's project with a package called `jobs`, which has nothing of ours."""
    project = installed.project("project")
    (project / "jobs").mkdir()
    (project / "jobs" / "__init__.py").write_text("FACTOR = 2\n")
    (project / "jobs" / "tasks.py").write_text(_OWN_TASKS)
    return project


@pytest.fixture(scope="module")
def api(installed: Installed, project: Path) -> Iterator[Api]:
    """The API of the wheel, started from the user's project."""
    port = free_port()
    api = Api(f"http://127.0.0.1:{port}", project / "api.log", project / "worker.log")
    command = [installed.python, "-m", "uvicorn", "gql_api.app:app", f"--port={port}", "--no-access-log"]
    with process(command, api.log, installed.environment, cwd=project):
        wait_until(api.is_ready, 60)
        yield api


def _runs(api: Api, name: str) -> bool:
    definitions = api.data("{ taskDefinitions { name workers } }")["taskDefinitions"]
    return any(definition["name"] == name and definition["workers"] for definition in definitions)


def test_the_wheel_has_one_package(installed: Installed) -> None:
    """Nothing but `gql_api` becomes importable, and it comes from the wheel."""
    names = {name.partition("/")[0] for name in zipfile.ZipFile(installed.wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"gql_api"}
    where = installed.run("-c", "import gql_api; print(gql_api.__file__)", cwd=installed.folder)
    assert Path(where.stdout.strip()).is_relative_to(installed.folder / "env")
    assert "No module named 'jobs'" in installed.run("-c", "import jobs", cwd=installed.folder).stderr


def test_the_wheel_serves_its_pages(api: Api) -> None:
    """The board and the playground and all files that they name come from the wheel, compressed for browsers."""
    with plain_http.Client(base_url=api.url, headers={"Accept": "text/html", "Accept-Encoding": "br"}) as browser:
        for path in ("/", "/graphql"):
            page = browser.get(path)
            assert page.status_code == 200
            assert '<base href="/">' in page.text
            assert '"path":"/graphql"' in page.text
            names = re.findall(r'(?:src|href)="(?:\./)?(assets/[^"]+)"', page.text)
            assert names
            for name in names:
                file = browser.head(f"/{name}")
                assert (file.status_code, file.headers["content-encoding"]) == (200, "br"), name


def test_the_servers_start_beside_a_package_called_jobs(installed: Installed, project: Path, api: Api) -> None:
    """`celery -A gql_api worker` runs the task of a user's own `jobs` that the API creates."""
    with process(
        [installed.python, *_WORKER], api.worker_log, {**installed.environment, "TASK_MODULES": "jobs.tasks"}, project
    ):
        wait_until(lambda: _runs(api, "jobs.tasks.double"), 60)
        assert api.finished(api.create("jobs.tasks.double", args=[21], metadata={"a": 1}))["result"] == 42


def test_an_adopted_django_project_has_an_app_called_jobs(installed: Installed, api: Api) -> None:
    """`startapp jobs` succeeds in an adopted project, and the tasks of that app are recorded and run."""
    django = installed.project("django")
    assert installed.run("-m", "django", "startproject", "shop", ".", cwd=django).returncode == 0
    (django / "shop" / "celery.py").write_text(_DJANGO_CELERY)
    (django / "shop" / "__init__.py").write_text("from .celery import app as celery_app\n")
    taken = installed.run("manage.py", "startapp", "gql_api", cwd=django)
    assert "conflicts with the name of an existing Python module" in taken.stderr
    created = installed.run("manage.py", "startapp", "jobs", cwd=django)
    assert created.returncode == 0, created.stderr
    with (django / "shop" / "settings.py").open("a") as settings:
        settings.write(_DJANGO_SETTINGS)
    (django / "jobs" / "tasks.py").write_text(_DJANGO_TASKS)

    worker = [installed.python, "-m", "celery", "-A", "shop", "worker", "-c", "1", "-n", "shop@%h", "--without-mingle"]
    with process(worker, django / "worker.log", installed.environment, cwd=django):
        wait_until(lambda: _runs(api, "jobs.tasks.price"), 60)
        sends = """
from django.db import transaction
from jobs.tasks import price
print(price.delay('tea').get(timeout=30))
with transaction.atomic():
    price.delay_on_commit("cake")
"""
        sent = installed.run("manage.py", "shell", "--no-imports", "-c", sends, cwd=django)
        assert (sent.returncode, sent.stdout.strip()) == (0, "tea: 9.50"), sent.stderr
        wait_until(lambda: "cake: 9.50" in str(api.data("{ tasks(first: 10) { nodes { result } } }")), 30)
        assert api.finished(api.create("jobs.tasks.price", args=["milk"]))["result"] == "milk: 9.50"
        assert api.finished(api.create("jobs.tasks.price", args=["nothing"]))["status"] == "REVOKED"


def test_dev_starts_beside_a_package_called_jobs(installed: Installed, project: Path, tmp_path: Path) -> None:
    """`gql-api dev` of the wheel runs the tasks of the user's own `jobs`."""
    port, log = free_port(), tmp_path / "dev.log"
    api = Api(f"http://127.0.0.1:{port}", log, log)
    command = [str(installed.folder / "env" / "bin" / "gql-api"), "dev", f"--port={port}", "--concurrency=1"]
    command += [f"--mongodb-port={free_port()}", f"--redis-port={free_port()}"]
    environment = {"PYTHONPATH": "", "TASK_MODULES": "jobs.tasks"}
    with process([*command, f"--data-dir={tmp_path / 'data'}"], log, environment, cwd=project) as started:
        try:
            wait_until(lambda: "Ready: " in log.read_text(), 60)
        except NotWithinTimeError as error:
            error.add_note(log.read_text())
            raise
        assert api.finished(api.create("jobs.tasks.double", args=[4]))["result"] == 8
        started.send_signal(signal.SIGINT)
        assert started.wait(timeout=30) == 0


def test_importing_the_public_names_reads_no_environment(installed: Installed) -> None:
    """The public names are listed and imported lazily, and no application is built before `create_app` is called."""
    done = installed.run("-c", _READS_NO_ENVIRONMENT, cwd=installed.folder, MONGODB_URL="http://nonsense")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("MONGODB_URL: ")
