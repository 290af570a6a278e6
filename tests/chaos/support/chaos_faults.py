"""The injection of the planned faults."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from chaos_messages import Messages
from chaos_plan import PlannedFault
from chaos_process import Process
from chaos_site import Site
from proxy import Mode
from redis import Redis
from redis.exceptions import RedisError

# So many faults go on at once, on different targets.
_CONCURRENCY = 3
_CUT_SECONDS = 0.15


@dataclass
class Injector:
    """Injects faults one after the other; long ones go on while the next ones strike other targets.

    Args:
        say: prints a line.
    """

    site: Site
    plan: Sequence[PlannedFault]
    seed: int
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._messages = Messages(random.Random(self.seed))  # noqa: S311 - not a secret
        self._places = threading.Semaphore(_CONCURRENCY)
        # A target that is no process: a route, or the replica set.
        self._locks = {fault.target: threading.RLock() for fault in self.plan}
        self._kinds: dict[str, Callable[[PlannedFault], str | None]] = {
            "kill": self._kill,
            "kill-main": self._kill_main,
            "kill-child": self._kill_child,
            "kill-api": self._kill,
            "freeze": self._freeze,
            "freeze-api": self._freeze,
            "stop": self._stop,
            "quit": self._quit,
            "stop-api": self._stop,
            "redis-restart": self._kill,
            "redis-empty": self._empty_redis,
            "redis-flush": lambda _: self._ask_redis(lambda redis: redis.flushall()),
            "redis-freeze": self._freeze,
            "cut": lambda fault: self._ask_redis(lambda redis: _cut(redis, fault.seconds, "normal", "pubsub")),
            "cut-events": lambda fault: self._ask_redis(lambda redis: _cut(redis, fault.seconds, "pubsub")),
            "drop": lambda fault: self._misroute(fault, Mode.DROP),
            "refuse": lambda fault: self._misroute(fault, Mode.REFUSE),
            "delay": lambda fault: self._misroute(fault, Mode.DELAY),
            "hang": lambda fault: self._misroute(fault, Mode.HANG),
            "halfopen": lambda fault: self._misroute(fault, Mode.HALF_OPEN),
            "duplicate": lambda _: self._ask_redis(self._messages.duplicate),
            "replay": lambda _: self._ask_redis(self._messages.replay),
            "lose": lambda _: self._ask_redis(self._messages.lose),
            "mongodb-kill": self._kill_mongodb,
            "mongodb-freeze": self._freeze_mongodb,
            "mongodb-stop": self._stop_mongodb,
            "step-down": lambda _: self.site.mongodb.step_down(),
            "cut-off": self._cut_off,
            "kill-primary": self._kill_primary,
        }

    def run(self) -> None:
        """Inject all faults, and return when the last one has ended."""
        with ThreadPoolExecutor(_CONCURRENCY) as executor:
            injected: list[Future[None]] = []
            for fault in self.plan:
                self._places.acquire()
                injected.append(executor.submit(self._inject, fault))
                time.sleep(fault.pause)
        for future in injected:
            future.result()

    def _inject(self, fault: PlannedFault) -> None:
        try:
            with self._target(fault.target):
                began = time.monotonic()
                note = self._kinds[fault.kind](fault)
                self.say(f"{fault}{f': {note}' if note else ''} (took {time.monotonic() - began:.1f} s)")
        finally:
            self._places.release()

    @contextlib.contextmanager
    def _target(self, name: str) -> Iterator[None]:
        process = self.site.processes.get(name)
        with process.lock if process else self._locks[name]:
            yield

    def _process(self, fault: PlannedFault) -> Process:
        return self.site.processes[fault.target]

    def _kill(self, fault: PlannedFault) -> None:
        process = self._process(fault)
        process.kill()
        _start_again(process, fault.seconds)

    def _kill_main(self, fault: PlannedFault) -> None:
        process = self._process(fault)
        process.kill_main()
        _start_again(process, fault.seconds)

    def _kill_child(self, fault: PlannedFault) -> None:
        children = self._process(fault).children()
        chance = random.Random(self.seed + fault.number)  # noqa: S311 - not a secret
        for pid in chance.sample(children, min(1, len(children))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _freeze(self, fault: PlannedFault) -> None:
        process = self._process(fault)
        process.signal_all(signal.SIGSTOP)
        time.sleep(fault.seconds)
        process.signal_all(signal.SIGCONT)

    def _stop(self, fault: PlannedFault) -> str | None:
        return self._end_by(fault, signal.SIGTERM)

    def _quit(self, fault: PlannedFault) -> str | None:
        return self._end_by(fault, signal.SIGQUIT)

    def _end_by(self, fault: PlannedFault, number: signal.Signals) -> str | None:
        process = self._process(fault)
        stopped = process.stop(number)
        _start_again(process, fault.seconds)
        return None if stopped else "it did not stop and was killed"

    def _empty_redis(self, fault: PlannedFault) -> None:
        process = self.site.redis_process
        process.kill()
        self.site.empty_redis()
        _start_again(process, fault.seconds)

    def _ask_redis(self, ask: Callable[[Redis], object]) -> str:
        try:
            with self.site.redis() as redis:
                return str(ask(redis))
        except RedisError as error:
            return f"skipped: {error}"

    def _misroute(self, fault: PlannedFault, mode: Mode) -> None:
        self.site.set_route(fault.target, mode)
        if mode not in {Mode.DROP, Mode.HALF_OPEN}:
            time.sleep(fault.seconds)
            self.site.set_route(fault.target, Mode.OK)

    def _kill_mongodb(self, fault: PlannedFault) -> None:
        with self.site.mongodb.loss():
            self._kill(fault)

    def _stop_mongodb(self, fault: PlannedFault) -> None:
        with self.site.mongodb.loss_by_failover():
            self._stop(fault)

    def _freeze_mongodb(self, fault: PlannedFault) -> None:
        with self.site.mongodb.loss_by_failover():
            self._freeze(fault)

    def _cut_off(self, fault: PlannedFault) -> str:
        with self.site.mongodb.loss():
            primary = self.site.mongodb.cut_off()
            time.sleep(fault.seconds)
            replaced = fault.number % 2 == 0
            with primary.lock:
                if replaced:
                    primary.kill()
                self.site.mongodb.rejoin()
                if replaced:
                    # Its late return rolls back what no other member has.
                    self.site.mongodb.primary()
                    _start_again(primary, 0)
        return f"{primary.name}, {'replaced' if replaced else 'and back'}"

    def _kill_primary(self, fault: PlannedFault) -> str:
        with self.site.mongodb.loss():
            primary = self.site.mongodb.process(self.site.mongodb.primary())
            with primary.lock:
                primary.kill()
                _start_again(primary, fault.seconds)
        return primary.name


def _start_again(process: Process, seconds: float) -> None:
    time.sleep(seconds)
    process.start()
    process.wait_until_ready()


def _cut(redis: Redis, seconds: float, *types: str) -> int:
    """Close the connections of all clients of some types, again and again, and return their number."""
    end, cut = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        cut += sum(int(redis.client_kill_filter(_type=each)) for each in types)
        time.sleep(_CUT_SECONDS)
    return cut
