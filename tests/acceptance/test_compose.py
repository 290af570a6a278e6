"""compose.yml and the Dockerfile, tested without a container engine: their own commands run on this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import built
import httpx
import plain_http
import pytest
from click.testing import CliRunner
from ports import free_port
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from redis import Redis
from redis.exceptions import AuthenticationError
from ruamel.yaml import YAML
from support import ROOT, Api, process, wait_until

from gql_api.cli.embedded_servers import MongodbServer, RedisServer, is_listening
from gql_api.cli.main import main
from gql_api.settings import Settings

pytestmark = pytest.mark.slow

_SECRETS = {
    "MONGODB_PASSWORD": "m-secret",
    "MONGODB_ADMIN_PASSWORD": "a-secret",
    "REDIS_PASSWORD": "r-secret",
    "ACCESS_SECRET": "s" * 48,
}
_IMAGE_FOLDER = "/opt/gql-api"


@dataclass(frozen=True)
class Service:
    """The command, environment and health check of a service, with addresses on this machine."""

    command: list[str]
    environment: dict[str, str]
    health: list[str]


class Compose:
    """compose.yml, read as Docker Compose reads it, with the addresses of containers replaced."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.services: dict[str, Any] = YAML(typ="safe").load(ROOT / "compose.yml")["services"]
        self._addresses = addresses

    def service(self, name: str) -> Service:
        """Read one service."""
        service = self.services[name]
        health = service.get("healthcheck", {}).get("test", [])
        shell = ["sh", "-c"] if health[:1] == ["CMD-SHELL"] else []
        return Service(
            command=[self._filled_in(word) for word in service["command"]],
            environment={key: self._filled_in(value) for key, value in service.get("environment", {}).items()},
            health=[*shell, *(self._filled_in(word) for word in health[1:])],
        )

    def _filled_in(self, text: str) -> str:
        text = re.sub(r"\$\{(\w+)(?::-([^}]*))?[^}]*\}", lambda m: _SECRETS.get(m[1], m[2] or ""), text)
        for name, address in self._addresses.items():
            text = text.replace(name, address)
        return text.replace("$$", "$")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Follow the instructions of the first stage of the Dockerfile, and return the folder that they fill."""
    built.need_pages()
    folder = tmp_path_factory.mktemp("image")
    installed = folder / "gql-api"
    sources = folder / "src"
    sources.mkdir()
    _, _, stage, *_ = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    for instruction in re.findall(r"^(COPY|RUN) (.*)$", stage, re.MULTILINE):
        _follow(instruction, sources, installed)
    return installed


def _follow(instruction: tuple[str, str], sources: Path, installed: Path) -> None:
    kind, words = instruction
    if kind == "RUN":
        command = words.replace(_IMAGE_FOLDER, str(installed)).replace("python -m", f"{sys.executable} -m")
        subprocess.run(shlex.split(command), cwd=sources, check=True, capture_output=True)
        return
    *names, target = shlex.split(words)
    if names[0] == "--from=web":
        # The pages of this checkout, which the stage before builds from the same sources.
        names = [target]
        shutil.rmtree(sources / target)
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, sources / target)
        else:
            shutil.copy(ROOT / name, sources / target)


@dataclass(frozen=True)
class Stack:
    """The running services and their addresses."""

    compose: Compose
    api: Api
    other_api: Api
    mongo: MongodbServer
    redis: RedisServer
    environment: dict[str, str]

    def is_healthy(self, name: str) -> bool:
        """Run the health check of a service."""
        service = self.compose.service(name)
        environment = {**self.environment, **service.environment}
        return subprocess.run(service.health, env=environment, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def stack(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start every service of compose.yml, the API twice, in the order of their dependencies."""
    folder = tmp_path_factory.mktemp("compose")
    ports = {name: free_port() for name in ("mongo", "redis", "api", "other_api", "proxy")}
    addresses = {
        "mongo:27017": f"127.0.0.1:{ports['mongo']}",
        "redis:6379": f"127.0.0.1:{ports['redis']}",
        "http://:8000": f"http://:{ports['proxy']}",
        "http://api:8000": f"http://127.0.0.1:{ports['api']}",
        "127.0.0.1:8000": f"127.0.0.1:{ports['api']}",
        "0.0.0.0": "127.0.0.1",  # noqa: S104 - the address to replace
        "/data/configdb": str(folder),
    }
    compose = Compose(addresses)
    mongo, redis = MongodbServer(folder / "mongodb", ports["mongo"]), RedisServer(folder / "redis", ports["redis"])
    programs = _programs(folder, mongo, redis)
    base = {
        **os.environ,
        "PATH": f"{image / 'bin'}:{programs}:{os.environ['PATH']}",
        "HOSTNAME": socket.gethostname(),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
    }
    _make_root_user(mongo, folder)

    def run(name: str, *more: str, log: str = "") -> subprocess.Popen[bytes]:
        service = compose.service(name)
        environment = {**base, **service.environment}
        started: subprocess.Popen[bytes] = running.enter_context(
            process([*service.command, *more], folder / f"{log or name}.log", environment, cwd=folder)
        )
        return started

    api, other_api = (
        Api(f"http://127.0.0.1:{ports[name]}", folder / f"{name}.log", folder / "worker.log")
        for name in ("api", "other_api")
    )
    result = Stack(compose, api, other_api, mongo, redis, base)
    with ExitStack() as running:
        run("mongo")
        wait_until(lambda: is_listening(mongo.port), 60, "mongo")
        for _ in range(2):  # at every start of the stack
            assert run("mongo-setup").wait(timeout=60) == 0
        run("redis")
        wait_until(lambda: result.is_healthy("redis"), 60, "redis")
        run("api", f"--port={ports['api']}")
        run("api", f"--port={ports['other_api']}", log="other_api")
        run("worker")
        for name in ("api", "worker"):
            wait_until(partial(result.is_healthy, name), 60, name)
        wait_until(lambda: _answers(other_api), 60, "the other API")
        token = _make_token({**base, **compose.service("api").environment})
        yield replace(result, api=replace(api, token=token), other_api=replace(other_api, token=token))


def _make_token(environment: Mapping[str, str]) -> str:
    """Run the command of the docs that makes the first token."""
    (command,) = re.findall(r"exec -T api (gql-api token create [^)]*)\)", (ROOT / "docs" / "deploy.md").read_text())
    words = shlex.split(command.replace("\\\n", ""))
    made = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return made.stdout.strip()


def _programs(folder: Path, mongo: MongodbServer, redis: RedisServer) -> Path:
    """Write the programs of the database images, with addresses on this machine."""
    programs = folder / "programs"
    programs.mkdir()
    mongod, redis_server = mongo.command(folder / "mongod.log")[0], redis.command()[0]
    at = f"--dbpath {mongo.data} --port {mongo.port} --networkMessageCompressors disabled --wiredTigerCacheSizeGB 0.25"
    redis_cli = shutil.which("redis-cli") or Path(redis_server).with_name("redis-cli")
    scripts = {
        "mongod": f'exec {mongod} "$@"',
        "docker-entrypoint.sh": f'exec "$@" {at}',
        "redis-server": f'exec {redis_server} "$@" --bind 127.0.0.1 --port {redis.port} --dir {redis.data}',
        "redis-cli": f'exec {redis_cli} -p {redis.port} "$@"',
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    return programs


def _make_root_user(mongo: MongodbServer, folder: Path) -> None:
    """Create the root user in a server without passwords, as the image does at its first start."""
    command = [word for word in mongo.command(folder / "first.log") if not word.startswith("--replSet")]
    with (
        process(command, folder / "first.out"),
        MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{mongo.port}") as client,
    ):
        client.admin.command("createUser", "admin", pwd=_SECRETS["MONGODB_ADMIN_PASSWORD"], roles=["root"])


def _answers(api: Api) -> bool:
    try:
        return plain_http.get(f"{api.url}/readyz").is_success
    except httpx.TransportError:
        return False


def test_a_task_runs_and_is_seen_from_another_replica(stack: Stack) -> None:
    """A task that one API accepts is run by the worker and watched through the other API."""
    task_id = stack.api.create("long_running_task", kwargs={"task_input": "x", "seconds": 1}, metadata={"a": 1})
    updates = stack.other_api.watch(f'subscription {{ taskUpdated(id: "{task_id}") {{ status metadata }} }}')
    assert list(updates)[-1]["taskUpdated"] == {"status": "SUCCESS", "metadata": {"a": 1}}


def test_clients_need_a_token(stack: Stack) -> None:
    """Without one, the API answers nothing but health checks."""
    refused = plain_http.post(stack.api.graphql, json={"query": "{ viewer { subject } }"})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert stack.api.data("{ viewer { subject } }") == {"viewer": {"subject": "admin"}}


def test_the_databases_want_their_passwords(stack: Stack) -> None:
    """Both databases refuse a client without a password, and the application's user has its own database only."""
    with (
        MongoClient[dict[str, Any]](stack.mongo.url, directConnection=True) as stranger,
        pytest.raises(OperationFailure, match="requires authentication"),
    ):
        stranger["gql_api"]["tasks"].find_one()
    with Redis(port=stack.redis.port) as stranger_to_redis, pytest.raises(AuthenticationError):
        stranger_to_redis.ping()
    with Redis(port=stack.redis.port, password=_SECRETS["REDIS_PASSWORD"]) as redis:
        configuration = redis.config_get()
        assert (configuration["appendonly"], configuration["maxmemory-policy"]) == ("yes", "noeviction")
        assert int(configuration["maxmemory"]) == 600 * 1024 * 1024
    url = stack.compose.service("api").environment["MONGODB_URL"]
    with MongoClient[dict[str, Any]](url) as application, pytest.raises(OperationFailure, match="not authorized"):
        application["other"]["tasks"].insert_one({})


def test_the_proxy_carries_requests_and_subscriptions(stack: Stack, tmp_path: Path) -> None:
    """The published address serves what the API serves, WebSockets included."""
    if shutil.which("caddy") is None:
        pytest.skip("Caddy is not installed")
    command = stack.compose.service("proxy").command
    port = command[command.index("--from") + 1].rpartition(":")[2]
    api = Api(f"http://127.0.0.1:{port}", tmp_path / "proxy.log", tmp_path / "none", stack.api.token)
    with process(command, api.log, {**stack.environment, "XDG_DATA_HOME": str(tmp_path)}):
        wait_until(lambda: _answers(api), 60, "the proxy")
        task_id = api.create("long_running_task", kwargs={"task_input": "x", "seconds": 0})
        assert list(api.watch(f'subscription {{ taskUpdated(id: "{task_id}") {{ isFinal }} }}'))[-1]["taskUpdated"]


def test_containers_keep_to_themselves() -> None:
    """Only the proxy is published, every service that stays is checked, and no password stands in the file."""
    services = Compose({}).services
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"mongo-setup"}
    for name in ("mongo", "redis"):
        assert services[name]["networks"] == ["data"]
        assert services[name]["volumes"]
    assert not re.search(r"(?:PASSWORD|SECRET): (?!\$\{\w+:\?)", (ROOT / "compose.yml").read_text())


@pytest.mark.parametrize("name", Compose({}).services)
def test_a_container_can_do_little_beside_its_job(name: str) -> None:
    """No service is root, keeps a capability, gains one, writes to its image, or takes all memory or processes."""
    service = Compose({}).services[name]
    assert service["user"].partition(":")[0] not in {"", "0", "root"}
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]  # noqa: S108 - a folder in the container
    assert service["cap_drop"] == ["ALL"]
    # Of Caddy's program, which Linux does not execute without it.
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"(\$\{[A-Z]+_MEMORY:-)?\d+[mg]\}?", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 4096
    assert not {"privileged", "network_mode", "pid", "ipc", "devices", "userns_mode"} & set(service)
    assert not [volume for volume in service.get("volumes", []) if not re.match(r"[a-z]+-[a-z]+:/", volume)]


def test_the_api_is_open_to_the_proxy_by_name_only() -> None:
    """The published address is one of this machine by default, and so are the hosts. Production is on."""
    services = Compose({}).services
    assert services["proxy"]["ports"] == ["${API_ADDRESS:-127.0.0.1:8000}:8000"]
    environment = Compose({}).service("api").environment
    assert environment["ALLOWED_HOSTS"] == ",".join(Settings.model_fields["allowed_hosts"].default)
    assert (environment["ALLOWED_ORIGINS"], environment["PRODUCTION"]) == ("", "1")
    assert services["api"]["environment"]["ACCESS_SECRET"].startswith("${ACCESS_SECRET:?")
    assert not {"AUTH", "ALLOW_UNAUTHENTICATED"} & set(environment)


def test_the_image_asks_before_it_opens_to_others() -> None:
    """The command of the image alone does not start: whoever runs it decides who may reach it."""
    user = re.search(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    command = re.search(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    assert command is not None
    assert user[1] == Compose({}).services["api"]["user"]
    program, *options = json.loads(command[1])
    assert program == "gql-api"
    refused = CliRunner().invoke(main, options)
    assert refused.exit_code == 1
    assert "ACCESS_SECRET" in refused.output


def test_the_build_context_is_what_the_image_is_built_from() -> None:
    """The Dockerfile copies exactly what .dockerignore lets into the build context."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = {name.partition("/")[0] for name in " ".join(copied).split()}
    assert sorted(line[1:] for line in lines if line.startswith("!")) == sorted(names)
