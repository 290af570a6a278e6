"""The plan of a chaos run: which faults strike which targets, how long they last and how they follow each other."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

MONGODB, REDIS = "mongodb", "redis"
CLOCK = "clock"


@dataclass(frozen=True)
class Options:
    """The options of a run.

    Args:
        faults: how many faults are injected.
        seed: decides the faults, their targets and pauses, and the load.
        members: the number of MongoDB servers, 1 or 3.
        defaults: leases and intervals are the defaults of the settings; otherwise they are short.
        kinds: the families of faults, or single faults; all when empty. "clock" stands for the worker with a wrong one.

    Raises:
        ValueError: a kind is unknown.
    """

    faults: int
    seed: int
    members: int = 1
    defaults: bool = False
    kinds: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = self.kinds - {CLOCK} - {name for kind in _kinds(self.members) for name in (kind.name, kind.family)}
        if unknown:
            raise ValueError(f"KINDS: unknown with {self.members} members: {', '.join(sorted(unknown))}")

    @property
    def lease_seconds(self) -> float:
        """The length of a lease."""
        return 10.0 if self.defaults else 2.0

    @property
    def has_wrong_clock(self) -> bool:
        """True if the clock of one worker is wrong, for the whole run."""
        return not self.kinds or CLOCK in self.kinds


@dataclass(frozen=True)
class Targets:
    """The names of the processes and of the proxy's routes that a site has."""

    workers: Sequence[str]
    pools: Sequence[str]
    apis: Sequence[str]
    routes: Sequence[str]
    members: Sequence[str]


@dataclass(frozen=True)
class PlannedFault:
    """A fault that will be injected: how long it lasts, and the pause before the next one."""

    number: int
    kind: str
    target: str
    seconds: float
    pause: float

    def __str__(self) -> str:
        return f"#{self.number} {self.kind} {self.target} for {self.seconds:.1f} s"


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Args:
        family: the name by which KINDS selects several kinds.
        targets: the field of :class:`Targets` that it strikes, or a name.
        weight: how often it is chosen.
        leases: how long it lasts at most, in leases.
    """

    name: str
    family: str
    targets: str
    weight: int
    leases: float = 0.0


KINDS = (
    Kind("kill", "kill", "workers", 7, 1),
    Kind("kill-main", "kill", "pools", 3, 1),
    Kind("kill-child", "kill", "pools", 5),
    Kind("kill-api", "kill", "apis", 3, 1),
    Kind("freeze", "freeze", "workers", 7, 3),
    Kind("freeze-api", "freeze", "apis", 2, 3),
    Kind("stop", "stop", "workers", 3),
    Kind("quit", "stop", "workers", 3),
    Kind("stop-api", "stop", "apis", 2),
    Kind("redis-restart", "redis", REDIS, 3, 2),
    Kind("redis-empty", "redis", REDIS, 2, 1),
    Kind("redis-flush", "redis", REDIS, 2),
    Kind("redis-freeze", "redis", REDIS, 2, 3),
    Kind("cut", "cut", REDIS, 6, 1),
    Kind("cut-events", "cut", REDIS, 3),
    Kind("drop", "network", "routes", 3),
    Kind("refuse", "network", "routes", 2, 2),
    Kind("delay", "network", "routes", 2, 3),
    Kind("hang", "network", "routes", 2, 3),
    Kind("halfopen", "network", "routes", 3),
    Kind("duplicate", "messages", REDIS, 5),
    Kind("replay", "messages", REDIS, 5),
    Kind("lose", "messages", REDIS, 4),
    Kind("mongodb-kill", "mongodb", "members", 3, 2),
    Kind("mongodb-freeze", "mongodb", "members", 3, 3),
    Kind("mongodb-stop", "mongodb", "members", 2, 2),
)
FAILOVERS = (
    Kind("step-down", "failover", MONGODB, 5),
    Kind("cut-off", "failover", MONGODB, 4, 2),
    Kind("kill-primary", "failover", MONGODB, 5, 2),
)
_MIN_SECONDS = 0.1
_SHORT_MORE_OFTEN = 1.5
_PAUSE_SECONDS = (0.5, 2.0)


def _kinds(members: int) -> tuple[Kind, ...]:
    return (*KINDS, *FAILOVERS) if members > 1 else KINDS


def plan(options: Options, targets: Targets) -> list[PlannedFault]:
    """Return the faults of a run; the same for the same options and targets."""
    chance = random.Random(options.seed)  # noqa: S311 - not a secret
    kinds = [each for each in _kinds(options.members) if not options.kinds or {each.name, each.family} & options.kinds]
    chosen = chance.choices(kinds, [kind.weight for kind in kinds], k=options.faults) if kinds else []
    slower = 2.0 if options.defaults else 1.0
    return [
        PlannedFault(
            number,
            kind.name,
            chance.choice(list(getattr(targets, kind.targets, None) or [kind.targets])),
            # Most are short, some longer than a lease.
            max(_MIN_SECONDS, kind.leases * options.lease_seconds * chance.random() ** _SHORT_MORE_OFTEN),
            chance.uniform(*_PAUSE_SECONDS) * slower,
        )
        for number, kind in enumerate(chosen, 1)
    ]
