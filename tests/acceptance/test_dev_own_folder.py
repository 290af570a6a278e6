from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from databases import Databases
from ports import free_port
from support import Api, NotWithinTimeError, process, wait_until

pytestmark = pytest.mark.slow

_COMMAND = [sys.executable, "-m", "gql_api", "dev", "--concurrency=2"]
_PRICES = """
import time

from celery import shared_task

from shop import rates


@shared_task
def price(item):
    return f"{item}: {rates.RATE}"


@shared_task
def wait(seconds):
    time.sleep(seconds)
    return rates.RATE
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of task functions, and a module that they use."""
    folder = tmp_path_factory.mktemp("project")
    shop = folder / "shop"
    shop.mkdir()
    (shop / "tasks.py").write_text(_PRICES)
    (shop / "rates.py").write_text("RATE = 'first rate'\n")
    return folder


@pytest.fixture(scope="module")
def api(project: Path, databases: Databases) -> Iterator[Api]:
    """The API of a `gql-api dev` in the folder, with servers that the environment names."""
    port, log = free_port(), project / "dev.log"
    environment = {
        "TASK_MODULES": "shop.tasks",
        "MONGODB_URL": databases.mongodb.url,
        "MONGODB_DATABASE": "dev",
        "CELERY_BROKER_URL": databases.redis.url.replace("/0", "/7"),
    }
    with process([*_COMMAND, f"--port={port}"], log, environment, cwd=project) as started:
        try:
            wait_until(lambda: "Ready: " in log.read_text(), 60)
        except NotWithinTimeError as error:
            error.add_note(log.read_text())
            raise
        yield Api(f"http://127.0.0.1:{port}", log, log)
        started.send_signal(signal.SIGINT)
        assert started.wait(timeout=30) == 0


def _ready_workers(api: Api) -> int:
    return api.worker_log.read_text().count(" ready.")


def _change(path: Path, text: str) -> None:
    # Editors write a new file and rename it.
    new = path.with_suffix(".tmp")
    new.write_text(text)
    new.rename(path)


def test_the_worker_of_dev_restarts_with_the_changed_code(api: Api, project: Path) -> None:
    """Changes of a task module and of what it imports are loaded, and the task that runs is run again with them."""
    rates = project / "shop" / "rates.py"
    assert api.finished(api.create("shop.tasks.price", args=["tea"]))["result"] == "tea: first rate"
    running = api.create("shop.tasks.wait", args=[600])
    wait_until(lambda: api.task(running)["status"] == "STARTED")

    _change(project / "shop" / "tasks.py", _PRICES.replace("time.sleep(seconds)", "pass"))
    _change(rates, "RATE = 'second rate'\n")
    assert api.finished(running, 60)["result"] == "second rate"
    assert api.finished(api.create("shop.tasks.price", args=["tea"]))["result"] == "tea: second rate"
    assert "shop/rates.py" in api.worker_log.read_text()

    count = _ready_workers(api)
    _change(rates, "RATE = \n")
    wait_until(lambda: "SyntaxError" in api.worker_log.read_text(), 30)
    _change(rates, "RATE = 'third rate'\n")
    wait_until(lambda: _ready_workers(api) > count, 30)
    assert api.finished(api.create("shop.tasks.price", args=["tea"]), 30)["result"] == "tea: third rate"


def test_dev_uses_the_servers_that_the_environment_names(api: Api, project: Path, databases: Databases) -> None:
    """With both addresses given, no server is started, no folder is created, and no command has an address."""
    log = api.log.read_text()
    assert "MongoDB of MONGODB_URL · Redis of CELERY_BROKER_URL" in log
    assert "mongodb started" not in log
    assert "redis started" not in log
    assert not (project / ".data").exists()
    started = [psutil.Process(int(pid)) for pid in re.findall(r"started \(pid=(\d+)\)", log)]
    assert len(started) == 2
    assert not [each for each in started if databases.mongodb.url in " ".join(each.cmdline())]


@pytest.mark.parametrize(
    ("option", "variable"), [("--mongodb-port", "MONGODB_URL"), ("--redis-port", "CELERY_BROKER_URL")]
)
def test_a_taken_port_of_a_server_is_told_at_once(tmp_path: Path, option: str, variable: str) -> None:
    """The message names the port, the option for another one, and the variable for a server that runs already."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = {"--port": free_port(), "--mongodb-port": free_port(), "--redis-port": free_port(), option: port}
        command = [*_COMMAND, *(f"{name}={number}" for name, number in ports.items())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: Port {port} on 127.0.0.1 cannot be used")
    assert f"choose another with {option}, or name a server to use in {variable}" in done.stderr
