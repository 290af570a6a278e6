"""The server of a soak: restarted on its port, and sampled all the time."""

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
import plain_http
import psutil
from prometheus_client.parser import text_string_to_metric_families
from support import Api, process, wait_until_async

BACKSTOP_FOUND = "gql_api_backstop_found_total"
_SERVE = Path(__file__).with_name("soak_serve.py")
_SAMPLE_SECONDS = 0.5
_STOP_SECONDS = 15


@dataclass(frozen=True)
class Sample:
    """A sample of a process at a time of ``time.monotonic``: its memory in MiB, and the count of its backstop."""

    at: float
    life: int
    resident: float
    backstop_found: float


@dataclass
class Server:
    """`gql-api serve` on one port, in one process after the other."""

    environment: Mapping[str, str]
    api: Api
    stack: ExitStack
    samples: list[Sample] = field(default_factory=list)
    life: int = 0

    async def start(self) -> None:
        """Start a process and wait until it answers."""
        command = [sys.executable, str(_SERVE), "serve", f"--port={self.api.url.rpartition(':')[2]}"]
        environment = {**self.environment, "MEMORY_FILE": str(self._memory_file)}
        self._process = self.stack.enter_context(process([*command, "--drain-seconds=5"], self.api.log, environment))
        await wait_until_async(lambda: asyncio.to_thread(self.api.is_ready), 30, "the API")
        self.life += 1

    async def stop(self) -> None:
        """Stop the process; fail when it does not end in time and in order."""
        self._process.terminate()
        # uvicorn shuts down in order, then raises the signal again.
        assert await asyncio.to_thread(self._process.wait, _STOP_SECONDS) in {0, -signal.SIGTERM}

    async def read(self) -> dict[str, float]:
        """Return the counters and gauges without labels."""
        async with plain_http.AsyncClient() as client:
            text = (await client.get(f"{self.api.url}/metrics", timeout=10)).raise_for_status().text
        families = text_string_to_metric_families(text)
        return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}

    async def take_samples(self, over: asyncio.Event) -> None:
        """Take samples until ``over`` is set, except while the server is down."""
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
    def _memory_file(self) -> Path:
        return self.api.log.with_name("memory")

    async def memory(self) -> tuple[int, int]:
        """Return the memory in use: small blocks, and bytes beside them."""
        self._memory_file.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        await wait_until_async(self._has_written, why="the server to write its memory in use")
        blocks, size = self._memory_file.read_text().split()
        return int(blocks), int(size)

    async def _has_written(self) -> bool:
        return self._memory_file.exists()

    async def has_sockets(self, count: int) -> bool:
        """Return whether exactly ``count`` sockets are open."""
        return (await self.read())["gql_api_sockets"] == count

    def growth(self) -> float:
        """Return by how many MiB the last process grew from its middle third to its last one, by their medians."""
        _, middle, last = self._thirds()
        return last - middle

    def resident(self) -> str:
        """Return the medians of the resident memory as text."""
        return "MiB resident in the thirds of the last process's life: {:.1f}, {:.1f}, {:.1f}".format(*self._thirds())

    def _thirds(self) -> tuple[float, float, float]:
        resident = [sample.resident for sample in self.samples if sample.life == self.life]
        third = len(resident) // 3
        thirds = resident[:third], resident[third:-third], resident[-third:]
        first, middle, last = map(statistics.median, thirds)
        return first, middle, last

    def findings(self) -> list[float]:
        """Return the times at which the backstop found something."""
        pairs = zip(self.samples, self.samples[1:], strict=False)
        return [
            after.at
            for before, after in pairs
            if after.backstop_found > (before.backstop_found if before.life == after.life else 0)
        ]
