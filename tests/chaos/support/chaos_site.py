"""The site of a chaos run: databases, workers of several pools, two API replicas, and a proxy before some of them."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from chaos_mongodb import Mongodb
from chaos_plan import MONGODB, REDIS, Options, Targets
from chaos_process import Process
from ports import free_port
from proxy import Mode, Proxy
from redis import Redis
from support import wait_until

from gql_api.cli.embedded_servers import HOST, RedisServer, is_listening

DATABASE = "chaos"
QUEUE = "celery"

_AHEAD = "ahead"
_POOLS = {"prefork": ("prefork", 2), "threads": ("threads", 4), "proxied": ("prefork", 1), _AHEAD: ("prefork", 1)}
_APIS = ("api", "api-proxied")
_BEHIND_PROXY = ("proxied", "api-proxied")
_SUPPORT = Path(__file__).parent
_WATCH_SECONDS = 0.3
# A process that ends by itself more often is left alone: it does not even start.
_MAX_EXITS = 10
_REDIS_SECONDS = 3.0
_DELAY_SECONDS = 0.3
_SHORT = {
    "LEASE_SECONDS": "2",
    "RECOVERY_INTERVAL_SECONDS": "0.3",
    "WORKER_HEARTBEAT_SECONDS": "1",
    "STORE_TIMEOUT_SECONDS": "3",
    # Faults take attempts away far more often than the default of three.
    "MAX_LOST_ATTEMPTS": "1000",
    "MAX_LOST_WORKERS": "1000",
}


def probe_queue(worker: str) -> str:
    """Return the queue that only this worker consumes."""
    return f"probe-{worker}"


class Site:
    """All processes of a run, each by its name."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder = folder
        self.executions = folder / "executions"
        self.mongodb = Mongodb(folder, options.members)
        self.workers: dict[str, Process] = {}
        self.apis: dict[str, Process] = {}
        self._options = options
        self._redis = RedisServer(folder / REDIS, free_port())
        self._ports = {name: free_port() for name in _APIS}
        self._proxy: Proxy | None = None
        self._proxy_lock = threading.Lock()
        self._stack = ExitStack()
        self._over = threading.Event()
        self.redis_process = Process(
            REDIS, self._redis.command(), folder / "redis.log", {}, lambda _: is_listening(self._redis.port)
        )

    @property
    def targets(self) -> Targets:
        """The names of what a fault can strike."""
        pools = [name for name in self.workers if _POOLS[name][0] == "prefork"]
        return Targets(list(self.workers), pools, list(self.apis), self._routes(), self.mongodb.names)

    @property
    def processes(self) -> dict[str, Process]:
        """All processes but the proxy."""
        databases = {process.name: process for process in (*self.mongodb.processes, self.redis_process)}
        return {**databases, **self.workers, **self.apis}

    @property
    def urls(self) -> list[str]:
        """The addresses of GraphQL on both replicas."""
        return [f"http://{HOST}:{self._ports[name]}/graphql" for name in _APIS]

    def redis(self) -> Redis:
        """Return a client of Redis with short timeouts."""
        return Redis.from_url(
            self._redis.url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS, decode_responses=True
        )

    def set_route(self, route: str, mode: Mode) -> None:
        """Let a route of the proxy behave otherwise."""
        assert self._proxy is not None
        with self._proxy_lock:
            self._proxy.set(route, mode, seconds=_DELAY_SECONDS)

    def empty_redis(self) -> None:
        """Delete the data of Redis, which must not run."""
        shutil.rmtree(self.folder / REDIS)
        (self.folder / REDIS).mkdir()

    def __enter__(self) -> Self:
        """Start everything."""
        with ExitStack() as stack:
            for database in (*self.mongodb.processes, self.redis_process):
                stack.callback(database.end)
            self.mongodb.start()
            self.redis_process.start()
            self.redis_process.wait_until_ready()
            servers = {MONGODB: self.mongodb.port, REDIS: self._redis.port}
            routes = {route: servers[route.partition("/")[2]] for route in self._routes()}
            self._proxy = stack.enter_context(
                Proxy(routes, stack.enter_context((self.folder / "proxy.log").open("ab")))
            )
            self.workers = {name: self._worker(name) for name in _POOLS}
            self.apis = {name: self._api(name) for name in _APIS}
            started = [*self.workers.values(), *self.apis.values()]
            for process in started:
                stack.callback(process.end)
                process.start()
            for process in started:
                process.wait_until_ready()
                assert process.is_running, f"{process.name} does not start: see {process.log}"
            watching = threading.Thread(target=self._watch, name="watch processes")
            watching.start()
            stack.callback(watching.join)
            stack.callback(self._over.set)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._stack.close()

    def heal(self) -> None:
        """End all faults: every process runs, and every connection works."""
        for route in self._routes():
            self.set_route(route, Mode.OK)
        self.mongodb.rejoin()
        for process in self.processes.values():
            process.signal_all(signal.SIGCONT)
            if not process.is_running and not process.note_exit():
                process.start()
        for process in self.processes.values():
            process.wait_until_ready()
        self.mongodb.primary()

    def exits(self) -> list[str]:
        """Return which processes have ended by themselves."""
        return [text for process in self.processes.values() for text in process.exits]

    def leftovers(self) -> list[str]:
        """Return the processes that have outlived the main process that they belonged to."""
        return [f"{name}: process {pid}" for name, each in self.processes.items() for pid in each.leftovers()]

    def wait_until_left(self, seconds: float) -> None:
        """Wait until no process has outlived its main process."""
        wait_until(lambda: not self.leftovers(), seconds, "processes to end after their main process")

    def _watch(self) -> None:
        """Note, and start again, each process that ends by itself."""
        while not self._over.wait(_WATCH_SECONDS):
            for process in self.processes.values():
                if process.lock.acquire(blocking=False):
                    try:
                        if len(process.exits) < _MAX_EXITS and process.note_exit():
                            process.start()
                    finally:
                        process.lock.release()

    def _routes(self) -> list[str]:
        # Clients find the members of a larger set by themselves, past a proxy.
        servers = [MONGODB, REDIS] if self._options.members == 1 else [REDIS]
        return [f"{name}/{server}" for name in _BEHIND_PROXY for server in servers]

    def _port(self, name: str, server: str) -> int:
        assert self._proxy is not None
        return self._proxy.port(f"{name}/{server}")

    def _environment(self, name: str) -> Mapping[str, str]:
        redis, mongodb = self._redis.url, self.mongodb.url
        if name in _BEHIND_PROXY:
            redis = f"redis://{HOST}:{self._port(name, REDIS)}/0"
            if self._options.members == 1:
                mongodb = f"mongodb://{HOST}:{self._port(name, MONGODB)}/?directConnection=true"
        return {
            "MONGODB_URL": mongodb,
            "MONGODB_DATABASE": DATABASE,
            "CELERY_BROKER_URL": redis,
            "REDIS_URL": redis,
            "TASK_MODULES": "chaos_tasks",
            "PYTHONPATH": str(_SUPPORT),
            "EXECUTIONS": str(self.executions),
            **({} if self._options.defaults else _SHORT),
        }

    def _worker(self, name: str) -> Process:
        pool, concurrency = _POOLS[name]
        options = ["-P", pool, "-c", str(concurrency), "-Q", f"{QUEUE},{probe_queue(name)}", "--without-mingle"]
        celery = [sys.executable, "-m", "celery", "-A", "jobs", "worker", "-n", f"{name}@chaos", "-l", "INFO"]
        environment = self._environment(name)
        if name == _AHEAD and self._options.has_wrong_clock:
            environment = _two_hours_ahead(environment)
        log = self.folder / f"{name}.log"
        return Process(name, [*celery, *options], log, environment, lambda output: b" ready." in output)

    def _api(self, name: str) -> Process:
        port = self._ports[name]
        command = [sys.executable, "-m", "gql_api", "serve", f"--port={port}", "--drain-seconds=5"]
        log = self.folder / f"{name}.log"
        return Process(name, command, log, self._environment(name), lambda _: is_listening(port))


def _two_hours_ahead(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment of a process with a wrong clock, or the same where libfaketime is not installed."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        return environment
    # Not by the program ``faketime``, which would be the main process, and the worker its child.
    return {
        **environment,
        "LD_PRELOAD": str(library),
        "FAKETIME": "+2h",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": f"{_SUPPORT}:{_SUPPORT / 'clock'}",
    }
