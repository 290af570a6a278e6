"""The plans of MongoDB for the API's commands, from its profiler and from explain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from gql_api.record import fields

_OF_THE_API = {"appName": "gql-api"}
# The parts of a profiled command that explain accepts.
_READS = ("find", "aggregate")
_PARTS = (*_READS, "filter", "pipeline", "sort", "limit", "projection", "hint")


@dataclass(frozen=True)
class Plan:
    """The execution of one command."""

    stages: frozenset[str]
    keys: int
    documents: int

    @property
    def flaws(self) -> list[str]:
        """The stages that a list must not have: a scan of the collection, or a sort of all matches."""
        return sorted(self.stages & {"COLLSCAN", "SORT", "$sort"}) if self.keys or self.documents else []


def plans_of(database: Database[dict[str, Any]], ask: Callable[[], object]) -> list[Plan]:
    """Send a request to the API, and return the plans of its commands on the tasks."""
    database.command("profile", 0)
    database["system.profile"].drop()
    database.command("profile", 2, filter=_OF_THE_API)
    try:
        ask()
    finally:
        database.command("profile", 0)
    reads = [{f"command.{name}": fields.TASKS} for name in _READS]
    seen = {"op": {"$in": ["query", "command"]}, "$or": reads}
    return [_plan(database, entry) for entry in database["system.profile"].find(seen)]


def _plan(database: Database[dict[str, Any]], entry: dict[str, Any]) -> Plan:
    command = {name: entry["command"][name] for name in _PARTS if name in entry["command"]}
    if "aggregate" in command:
        command["cursor"] = {}
    stages = set(_stages(database.command("explain", command, verbosity="queryPlanner")))
    # The command may have run by another plan, from the cache.
    stages |= {"SORT"} if entry.get("hasSortStage") else set()
    stages |= {"COLLSCAN"} if "COLLSCAN" in entry.get("planSummary", "") else set()
    return Plan(frozenset(stages), entry.get("keysExamined", 0), entry.get("docsExamined", 0))


def _stages(explained: Any) -> Iterator[str]:
    """Yield the names of all stages of the winning plans."""
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
