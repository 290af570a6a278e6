"""The runs of task functions, read from the side file."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPLACED = "Replaced by"


@dataclass(frozen=True)
class Sent:
    """A task that a run has sent: ``apply_async`` has returned."""

    id: str
    value: Any
    since: float | None = None
    countdown: float | None = None
    expires: float | None = None


@dataclass
class Run:
    """One run of a task function. Times are of ``time.monotonic``, which all processes share.

    Args:
        began: when the function began.
        tried: when each of its changes of metadata was about to be made.
        done: when each of them had returned.
        asked: when it was about to ask for a retry.
        ended: when the function had returned.
        raised: when an exception had left it, and which.
        last: when it last wrote a line.
    """

    id: str
    function: str
    attempt: int
    token: str
    retries: int
    worker: str
    pid: int
    began: float
    last: float
    tried: dict[int, float] = field(default_factory=dict)
    done: dict[int, float] = field(default_factory=dict)
    asked: float | None = None
    ended: float | None = None
    raised: tuple[float, str] | None = None
    sent: list[Sent] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """True if the function has returned or raised."""
        return self.ended is not None or self.raised is not None

    def has_raised(self, prefix: str) -> bool:
        """Return whether an exception with such a name and message has left the function."""
        return self.raised is not None and self.raised[1].startswith(prefix)

    def add(self, line: dict[str, Any]) -> None:
        """Add a line that the run wrote after its first one."""
        at, event = line["at"], line["event"]
        self.last = at
        match event:
            case "try":
                self.tried[line["step"]] = at
            case "effect":
                self.done[line["step"]] = at
            case "retry":
                self.asked = at
            case "sent":
                options = {name: line.get(name) for name in ("since", "countdown", "expires")}
                self.sent += [Sent(id_, value, **options) for id_, value in line["values"].items()]
            case "end":
                self.ended = at
            case "raised":
                self.raised = at, f"{line['error']}: {line['message']}"

    def __str__(self) -> str:
        return f"{self.function} {self.id} attempt {self.attempt} ({self.token}) on {self.worker}"


def runs_from(lines: Iterable[str]) -> list[Run]:
    """Return the runs of a side file's lines, in the order in which they began."""
    runs: dict[str, Run] = {}
    for line in map(json.loads, lines):
        if line["event"] == "begin":
            names = ("id", "function", "attempt", "token", "retries", "worker", "pid")
            values = {name: line[name] for name in names}
            runs[line["token"]] = Run(**values, began=line["at"], last=line["at"])
        else:
            runs[line["token"]].add(line)
    return sorted(runs.values(), key=lambda run: run.began)


def read_runs(file: Path) -> list[Run]:
    """Read the side file; a file that does not exist has no runs."""
    return runs_from(file.read_text().splitlines()) if file.exists() else []


def by_task(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Return the runs of each task."""
    grouped: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        grouped[run.id].append(run)
    return grouped
