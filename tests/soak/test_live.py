"""Live updates over a long time: clients join and leave, connections are cut, and the server restarts."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from databases import Databases
from ports import free_port
from redis import Redis
from soak_server import BACKSTOP_FOUND, Server
from soak_tasks import GROUPS, Population, QuietTask
from soak_watchers import LiveList, Watchers
from support import Api, wait_until_async

from gql_api.settings import Settings

_VISITORS = 250
_RESIDENTS = 50
# In shares of the time. The last process, whose memory is checked, lives longest and meets two cuts.
_CUTS = (0.1, 0.25, 0.4, 0.55, 0.75)
_STOPS = (0.15, 0.3, 0.45)
# The backstop scans every ten seconds, and the connection needs some time to return.
_AFTER_TROUBLE_SECONDS = 15.0
_MAX_GROWTH_MIB = 16.0
# The visits of a round to a task, and to its log; a list has fewer.
_ROUND_VISITS = 400
_ROUNDS = 5
_TO_THE_END_SECONDS = 60.0
_NEVER_LOGGED = ("Traceback", "ERROR", "Task was destroyed", "never retrieved", "was never awaited")
_GAUGES = [f"gql_api_{name}" for name in ("sockets", "subscriptions", "executions", "watched_tasks")]


@pytest.fixture
def seconds(pytestconfig: pytest.Config) -> float:
    """Return the duration of the soak."""
    return float(pytestconfig.getoption("--soak-seconds"))


@pytest.fixture
def server(settings: Settings, tmp_path: Path) -> Server:
    """Return a production server that has not started."""
    environment = {
        "MONGODB_URL": settings.mongodb_url,
        "MONGODB_DATABASE": settings.mongodb_database,
        "CELERY_BROKER_URL": settings.celery_broker_url,
    }
    log = tmp_path / "api.log"
    return Server(environment, Api(f"http://127.0.0.1:{free_port()}", log, log), ExitStack())


@pytest.fixture
def redis(databases: Databases) -> Iterator[Redis]:
    """Yield the Redis of the events."""
    with Redis.from_url(databases.redis.url, decode_responses=True) as client:
        yield client


@dataclass
class _Trouble:
    """The disturbances of the server, and their times."""

    server: Server
    redis: Redis
    seconds: float
    quiet: QuietTask
    watchers: Watchers
    lists: list[LiveList]
    # Their beginnings and their ends.
    times: list[tuple[float, float]] = field(default_factory=list)
    # The number of cuts after which clients received all changes without the backstop.
    healed: int = 0

    async def make(self) -> None:
        """Cause all disturbances at their times."""
        began = time.monotonic()
        plan = sorted([(share, self._cut) for share in _CUTS] + [(share, self._restart) for share in _STOPS])
        for share, disturb in plan:
            await asyncio.sleep(began + share * self.seconds - time.monotonic())
            at = time.monotonic()
            await disturb()
            self.times.append((at, time.monotonic()))
        await asyncio.sleep(began + self.seconds - time.monotonic())

    def explains(self, at: float) -> bool:
        """Return whether there was a disturbance at a time, or shortly before it."""
        return any(first <= at < last + _AFTER_TROUBLE_SECONDS for first, last in self.times)

    async def _cut(self) -> None:
        """Cut the connection of the events, and the one that replaces it.

        Clients must receive the missed changes after that, in most cases before the backstop scans.
        """
        before = await self.server.read()
        await wait_until_async(lambda: asyncio.to_thread(self._kill), why="a connection to cut")
        await asyncio.to_thread(self.quiet.change)
        await wait_until_async(lambda: asyncio.to_thread(self._kill), why="a connection to cut")
        await wait_until_async(self._is_healed, why="missed changes to arrive after a cut")
        self.healed += (await self.server.read())[BACKSTOP_FOUND] == before[BACKSTOP_FOUND]

    async def _is_healed(self) -> bool:
        """Return whether all clients have received the quiet task's last change."""
        life, revision = self.quiet.life, self.quiet.revision
        revisions = [self.watchers.revisions, *(each.revisions for each in self.lists if each.group == life.group)]
        return self.watchers.lines.get(life.id) == life.lines and all(
            each.get(life.id) == revision for each in revisions
        )

    def _kill(self) -> int:
        return sum(
            int(self.redis.client_kill_filter(_id=client["id"])) for client in self.redis.client_list(_type="pubsub")
        )

    async def _restart(self) -> None:
        await self.server.stop()
        await self.server.start()


async def _soak(server: Server, watchers: Watchers, lists: list[LiveList], trouble: _Trouble) -> None:
    """Run clients during the disturbances, until all of them have received the ends of their tasks."""
    population, over, all_over = watchers.population, asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        sampling = group.create_task(server.take_samples(all_over))
        following = [group.create_task(watchers.follow_list(each)) for each in lists]
        clients = [group.create_task(watchers.come_and_go(over)) for _ in range(_VISITORS)]
        clients += [group.create_task(watchers.stay(over)) for _ in range(_RESIDENTS)]
        clients += [
            group.create_task(follow(trouble.quiet.life)) for follow in (watchers.follow_task, watchers.follow_log)
        ]
        await trouble.make()
        over.set()
        await asyncio.to_thread(population.end)
        await asyncio.to_thread(trouble.quiet.end)
        await asyncio.wait_for(asyncio.gather(*clients), _TO_THE_END_SECONDS)

        async def complete() -> bool:
            return not any(each.lacks(population) for each in lists)

        await wait_until_async(complete, _TO_THE_END_SECONDS, "the lists to be as the tasks are")
        for task in following:
            task.cancel()
        all_over.set()
        await sampling


@pytest.mark.soak
async def test_live_updates_hold_out(server: Server, settings: Settings, redis: Redis, seconds: float) -> None:
    """All clients receive the ends of their tasks, and no subscription, channel or memory is left behind."""
    seed = random.SystemRandom().randrange(1 << 32)
    population = Population(settings, seed)
    groups = [population.group(number) for number in range(GROUPS)]
    watchers = Watchers(server.api.websocket, population, random.Random(seed))  # noqa: S311 - not a secret
    lists = [LiveList(group, unfinished, since=watchers.began) for group in groups for unfinished in (False, True)]
    quiet = QuietTask(settings, groups[0])
    population.lives[quiet.life.id] = quiet.life
    trouble = _Trouble(server, redis, seconds, quiet, watchers, lists)
    with server.stack:
        await server.start()
        population.begin()
        try:
            await wait_until_async(population.is_alive)
            await _soak(server, watchers, lists, trouble)
        finally:
            await asyncio.to_thread(population.end)
        losses = f"{watchers.losses} losses, {watchers.refusals} of them refusals"
        followed = f"{len(watchers.ends)} tasks and {len(watchers.logs)} logs followed to their ends"
        print(f"\nseed {seed}: {len(population.lives)} tasks, {watchers.visits} visits, {losses}")
        print(f"{followed}; {server.resident()}; the backstop found something {len(server.findings())} times")
        print(f"{trouble.healed} of {len(_CUTS)} cuts were healed without the backstop")
        assert population.failures == []
        assert watchers.refusals == 0
        assert trouble.healed > len(_CUTS) / 2
        lives = population.lives
        assert [(id_, revision) for id_, revision in watchers.ends if revision != lives[id_].last_revision] == []
        assert [(id_, lines) for id_, lines in watchers.logs if lines != lives[id_].lines] == []
        assert watchers.ends
        assert watchers.logs
        await wait_until_async(lambda: _nothing_is_left(server, redis), why="subscriptions to be gone")
        assert server.growth() < _MAX_GROWTH_MIB, server.resident()
        assert [at for at in server.findings() if not trouble.explains(at)] == []
        await _visits_leave_nothing(server, watchers, QuietTask(settings, groups[0]))
        await server.stop()
    log = server.api.log.read_text()
    assert [text for text in _NEVER_LOGGED if text in log] == [], log[-5000:]


async def _visits_leave_nothing(server: Server, watchers: Watchers, quiet: QuietTask) -> None:
    """Check that visits do not leak: after each round of them the process uses about the same memory."""
    await server.stop()
    await server.start()
    await asyncio.to_thread(quiet.change)
    # Most visitors of an API join an execution that exists.
    staying = [asyncio.create_task(follow(quiet.life)) for follow in (watchers.follow_task, watchers.follow_log)]
    memory = []
    for _ in range(_ROUNDS):
        await watchers.visit(quiet.life, _ROUND_VISITS)
        await wait_until_async(lambda: server.has_sockets(len(staying)), why="visitors to be gone")
        memory.append(await server.memory())
    print("memory after each round of the same visits, in small blocks, and bytes beside them:", *memory)
    blocks, sizes = zip(*memory, strict=True)
    await asyncio.to_thread(quiet.end)
    await asyncio.gather(*staying)
    assert _min_growth(blocks) < _ROUND_VISITS / 2
    assert _min_growth(sizes) < _ROUND_VISITS * 512


def _min_growth(sizes: Sequence[int]) -> int:
    """Return the smallest growth of a round; the first rounds fill caches."""
    return min(after - before for before, after in itertools.pairwise(sizes))


async def _nothing_is_left(server: Server, redis: Redis) -> bool:
    """Return whether the process has nothing left for clients, and Redis nothing for the process."""
    read = await server.read()
    return not any(read[name] for name in _GAUGES) and not redis.pubsub_channels() and not redis.pubsub_numpat()
