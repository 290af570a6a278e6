"""The server of a soak: stopped and started again on its port, and looked at all the time."""

from __future__ import annotations

import asyncio
import signal
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families
from support import Api, process, wait_until_async

BACKSTOP_FOUND = "gql_api_backstop_found_total"
_SERVE = Path(__file__).with_name("soak_serve.py")
_SAMPLE_SECONDS = 0.5
_STOP_SECONDS = 15


@dataclass(frozen=True)
class Sample:
    """What a process was at a time by ``time.monotonic``: its memory in MiB, and what its backstop had found."""

    at: float
    life: int
    resident: float
    backstop_found: float


@dataclass
class Server:
    """`gql-api serve` on one port, by one process after the other."""

    environment: Mapping[str, str]
    api: Api
    stack: ExitStack
    samples: list[Sample] = field(default_factory=list)
    life: int = 0

    async def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, str(_SERVE), "serve", f"--port={self.api.url.rpartition(':')[2]}"]
        environment = {**self.environment, "HELD": str(self._held)}
        self._process = self.stack.enter_context(process([*command, "--drain-seconds=5"], self.api.log, environment))
        await wait_until_async(lambda: asyncio.to_thread(self.api.is_ready), 30, "the API")
        self.life += 1

    async def stop(self) -> None:
        """Ask it to stop, and wait until it has, in time and in order."""
        self._process.terminate()
        # uvicorn stops in an orderly way, then raises the signal again.
        assert await asyncio.to_thread(self._process.wait, _STOP_SECONDS) in {0, -signal.SIGTERM}

    async def read(self) -> dict[str, float]:
        """Read its counters and gauges that have no labels."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.api.url}/metrics", timeout=10)).raise_for_status().text
        families = text_string_to_metric_families(text)
        return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}

    async def look(self, over: asyncio.Event) -> None:
        """Take samples until all is over; none while it is away."""
        while not over.is_set():
            life = self.life
            try:
                found = (await self.read())[BACKSTOP_FOUND]
                resident = psutil.Process(self._process.pid).memory_info().rss / 2**20
            except (httpx.TransportError, psutil.Error):
                pass
            else:
                if life == self.life:
                    self.samples.append(Sample(time.monotonic(), life, resident, found))
            await asyncio.sleep(_SAMPLE_SECONDS)

    @property
    def _held(self) -> Path:
        return self.api.log.with_name("held")

    async def held(self) -> tuple[int, int]:
        """Ask for what it holds: small blocks, and bytes beside them."""
        self._held.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        await wait_until_async(self._has_told, why="the server to tell what it holds")
        blocks, size = self._held.read_text().split()
        return int(blocks), int(size)

    async def _has_told(self) -> bool:
        return self._held.exists()

    async def has_sockets(self, count: int) -> bool:
        """Whether so many sockets are open, and no more."""
        return (await self.read())["gql_api_sockets"] == count

    def growth(self) -> float:
        """By how many MiB the last third of the last process's life was above the middle third, by their medians."""
        _, middle, last = self._thirds()
        return last - middle

    def resident(self) -> str:
        """The same in words."""
        return "MiB resident in the thirds of the last process's life: {:.1f}, {:.1f}, {:.1f}".format(*self._thirds())

    def _thirds(self) -> tuple[float, float, float]:
        resident = [sample.resident for sample in self.samples if sample.life == self.life]
        third = len(resident) // 3
        thirds = resident[:third], resident[third:-third], resident[-third:]
        first, middle, last = map(statistics.median, thirds)
        return first, middle, last

    def findings(self) -> list[float]:
        """When the backstop found something."""
        pairs = zip(self.samples, self.samples[1:], strict=False)
        return [
            after.at
            for before, after in pairs
            if after.backstop_found > (before.backstop_found if before.life == after.life else 0)
        ]
