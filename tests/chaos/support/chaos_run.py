"""One run: the load under faults, the healing, the collection of the evidence, and its checks."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import chaos_attempt_checks
import chaos_client_checks
import chaos_task_checks
from chaos_calls import Calls
from chaos_client import Client
from chaos_collect import collect, count_unfinished, save
from chaos_evidence import Evidence
from chaos_faults import Injector
from chaos_ledger import Ledger
from chaos_load import Load
from chaos_memory import Memory
from chaos_plan import Options, plan
from chaos_probes import probe
from chaos_site import Site
from chaos_watchers import Watchers
from support import NotWithinTimeError, wait_until_async

CHECKS = (*chaos_task_checks.CHECKS, *chaos_attempt_checks.CHECKS, *chaos_client_checks.CHECKS)
# The checks that hold only some time after the last change.
_SETTLING = (
    chaos_client_checks.watchers_receive_the_end,
    chaos_client_checks.lists_equal_the_database,
)

# Without faults, or with few, the load goes on for so long.
_MIN_LOAD_SECONDS = 20.0
_START_SECONDS = 30.0
_COUNT_SECONDS = 0.5
# The backstop of watchers scans every ten seconds.
_WATCHERS_SECONDS = 45.0
_SETTLE_SECONDS = 60.0
_SETTLE_LEASES = 12
_LEFT_SECONDS = 30.0
_SHOWN = 12


@dataclass
class Result:
    """The outcome of a run: its violations by check, and a summary."""

    violations: dict[str, list[str]] = field(default_factory=dict)
    summary: list[str] = field(default_factory=list)

    def add(self, check: str, *violations: str) -> None:
        """Add violations that a check has found."""
        if violations:
            self.violations.setdefault(check, []).extend(violations)

    def __str__(self) -> str:
        lines = list(self.summary)
        for check, found in self.violations.items():
            lines += [f"{check}: {len(found)}", *(f"  {each}" for each in found[:_SHOWN])]
            lines += [f"  … and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        return "\n".join(lines)


class Chaos:
    """A run.

    Args:
        options: what to do.
        folder: for logs, data and the evidence.
        output: prints a line.
    """

    def __init__(self, options: Options, folder: Path, output: Callable[[str], None]) -> None:
        self._options = options
        self._folder = folder
        self._output = output
        self._began = time.monotonic()
        self._ledger = Ledger()
        self._result = Result()
        self._unfinished = 0
        self._settle_seconds = _SETTLE_SECONDS + _SETTLE_LEASES * options.lease_seconds

    async def run(self) -> Result:
        """Run, and return the outcome. The folder keeps the evidence."""
        with Site(self._folder, self._options) as site:
            self._say(f"the site runs: {', '.join(site.processes)}")
            planned = plan(self._options, site.targets)
            injector = Injector(site, planned, self._options.seed, self._say)
            with Memory(site) as memory:
                async with self._clients(site) as (client, watchers, load):
                    await self._under_load(load, injector)
                    evidence = await self._calm_down(site, client, watchers)
                self._result.add("memory", *memory.violations())
                self._result.summary.append(f"MiB at most: {memory.summary()}")
            self._check(evidence, site, client)
            save(self._folder, evidence, site, self._result.violations)
            self._summarise(evidence, load, watchers)
        for data in self._folder.iterdir():
            if data.is_dir():
                shutil.rmtree(data)
        return self._result

    @contextlib.asynccontextmanager
    async def _clients(self, site: Site) -> AsyncIterator[tuple[Client, Watchers, Load]]:
        """Open the clients: those of the load, the watchers, and the lists."""
        chance = random.Random(self._options.seed)  # noqa: S311 - not a secret
        async with Client(site.urls, chance) as client:
            watchers = Watchers(client, chance, datetime.now(UTC).isoformat())
            watching: set[asyncio.Task[None]] = set()

            def watch(task_id: str) -> None:
                watching.add(asyncio.create_task(watchers.follow_task(task_id)))

            load = Load(Calls(client, self._ledger, chance), chance, watch, lambda: self._unfinished)
            background = [
                asyncio.create_task(watchers.follow_lists()),
                asyncio.create_task(self._count_unfinished(site)),
            ]
            await self._wait_for_definitions(client)
            try:
                yield client, watchers, load
            finally:
                for task in (*background, *watching):
                    task.cancel()
                for ended in await asyncio.gather(*background, *watching, return_exceptions=True):
                    if isinstance(ended, Exception):
                        self._result.add("the test itself failed", repr(ended))

    async def _under_load(self, load: Load, injector: Injector) -> None:
        """Inject all faults under load, heal them, and wait until all stories of the load have ended."""
        over = asyncio.Event()
        loading = asyncio.create_task(load.run(over))
        began = time.monotonic()
        await asyncio.to_thread(injector.run)
        await asyncio.sleep(began + _MIN_LOAD_SECONDS - time.monotonic())
        over.set()
        self._say("the load ends, and everything is healed")
        await asyncio.to_thread(injector.site.heal)
        try:
            await asyncio.wait_for(loading, self._settle_seconds)
        except TimeoutError:
            self._result.add("clients wait", "the load did not come to its end: calls or tasks are stuck")

    async def _calm_down(self, site: Site, client: Client, watchers: Watchers) -> Evidence:
        """Wait until nothing changes any more, and return the evidence."""
        self._result.add("workers consume", *await probe(client, self._ledger, list(site.workers)))
        self._say("all workers were probed")
        with contextlib.suppress(NotWithinTimeError):
            await wait_until_async(self._is_worked_off, self._settle_seconds)
        self._say(f"{self._unfinished} tasks are unfinished")
        # More time is of no use to tasks that are stuck.
        checks = _SETTLING if self._unfinished else (*_SETTLING, chaos_task_checks.all_are_final)
        since = time.monotonic()
        while True:
            evidence = await collect(site, client, self._ledger, watchers, self._options)
            settled = not any(violation for check in checks for violation in check(evidence))
            if settled or time.monotonic() - since > _WATCHERS_SECONDS:
                self._say(f"watchers and lists {'have settled' if settled else 'do not settle'}")
                return evidence
            await asyncio.sleep(1)

    def _check(self, evidence: Evidence, site: Site, client: Client) -> None:
        for check in CHECKS:
            self._result.add(check.__name__.replace("_", " "), *check(evidence))
        self._result.add("unexpected answers", *client.refusals)
        self._result.add("processes ended by themselves", *site.exits())
        with contextlib.suppress(NotWithinTimeError):
            site.wait_until_left(_LEFT_SECONDS)
        self._result.add("processes outlived their main process", *site.leftovers())

    def _summarise(self, evidence: Evidence, load: Load, watchers: Watchers) -> None:
        falls = list(chaos_client_checks.falls(evidence))
        explained = sum(chaos_client_checks.is_explained(evidence, before, after) for _, before, after in falls)
        changes = sum(live.changes for live in watchers.lists)
        lost_attempts = sum(record.lost_attempts + record.lost_workers for record in evidence.records.values())
        tasks = f"{load.stories} stories, {len(evidence.records)} tasks, {len(evidence.runs)} runs"
        watching = f"{len(evidence.watches)} watchers and {len(watchers.lists)} lists with {changes} changes"
        self._result.summary += [
            f"{tasks}, {lost_attempts} lost attempts; {self._ledger.losses} calls without an answer",
            f"{watching}, {watchers.losses} lost connections, {explained} states that MongoDB lost",
            f"{sum(map(len, self._result.violations.values()))} violations",
        ]

    def _say(self, line: str) -> None:
        text = f"[{time.monotonic() - self._began:6.1f} s] {line}"
        self._output(text)
        with (self._folder / "faults.log").open("a") as log:
            log.write(text + "\n")

    async def _wait_for_definitions(self, client: Client) -> None:
        async def announced() -> bool:
            found = (await client.insist("{ taskDefinitions { name workers } }"))["taskDefinitions"]
            return any(each["name"] == "chaos_tasks.work" and each["workers"] for each in found)

        async with asyncio.timeout(_START_SECONDS):
            await wait_until_async(announced, _START_SECONDS, "the task functions to be announced")

    async def _count_unfinished(self, site: Site) -> None:
        while True:
            self._unfinished = await asyncio.to_thread(count_unfinished, site, self._unfinished)
            await asyncio.sleep(_COUNT_SECONDS)

    async def _is_worked_off(self) -> bool:
        return self._unfinished == 0


def new_seed() -> int:
    """Return a seed for a run without one."""
    return uuid.uuid4().int % 1_000_000
