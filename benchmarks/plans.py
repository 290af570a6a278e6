"""How MongoDB ran what the API asked: its profiler tells the commands, and explain their plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from jobs.record import fields

_OF_THE_API = {"appName": "gql-api"}
# What of a profiled command explain takes.
_PARTS = (
    "find",
    "aggregate",
    "count",
    "distinct",
    "filter",
    "query",
    "pipeline",
    "sort",
    "limit",
    "projection",
    "hint",
)


@dataclass(frozen=True)
class Plan:
    """How one command was run."""

    stages: frozenset[str]
    keys: int
    documents: int

    @property
    def flaws(self) -> list[str]:
        """What a list must not need: a scan of the collection, or a sort of all that matches."""
        return sorted(self.stages & {"COLLSCAN", "SORT", "$sort"})


def plans_of(database: Database[dict[str, Any]], ask: Callable[[], object]) -> list[Plan]:
    """Ask the API something, and return how each command on the tasks that it took is run."""
    database.command("profile", 0)
    database["system.profile"].drop()
    database.command("profile", 2, filter=_OF_THE_API)
    try:
        ask()
    finally:
        database.command("profile", 0)
    seen = {"ns": f"{database.name}.{fields.TASKS}", "op": {"$in": ["query", "command"]}}
    return [_plan(database, entry) for entry in database["system.profile"].find(seen)]


def _plan(database: Database[dict[str, Any]], entry: dict[str, Any]) -> Plan:
    command = {name: entry["command"][name] for name in _PARTS if name in entry["command"]}
    if "aggregate" in command:
        command["cursor"] = {}
    explained = database.command("explain", command, verbosity="queryPlanner")
    return Plan(frozenset(_stages(explained)), entry.get("keysExamined", 0), entry.get("docsExamined", 0))


def _stages(explained: Any) -> Iterator[str]:
    """The names of all stages of the plans that won."""
    if isinstance(explained, dict):
        for name, value in explained.items():
            if name == "stage" and isinstance(value, str):
                yield value
            elif name.startswith("$"):
                yield name
            if name not in {"rejectedPlans", "parsedQuery", "command", "serverParameters"}:
                yield from _stages(value)
    elif isinstance(explained, list):
        for value in explained:
            yield from _stages(value)
