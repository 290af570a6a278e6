"""The collection of the evidence at the end of a run, and its files."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bson import json_util
from chaos_client import Client
from chaos_evidence import Evidence
from chaos_ledger import Ledger
from chaos_plan import Options
from chaos_runs import read_runs
from chaos_site import DATABASE, Site
from chaos_watchers import UNFINISHED, Watchers
from pymongo.errors import PyMongoError

from gql_api.record import fields
from gql_api.record.reads import CODEC, TaskRecord

_LOGS = """query ($ids: [ID!]!) {
  nodes(ids: $ids) { ... on Task { id logs(first: 500, minLevel: DEBUG) { nodes { message } } } }
}"""
# 500 lines of each: more would cost more than a request may.
_BATCH = 7
_MANY_LOST_ATTEMPTS = 1000


def count_unfinished(site: Site, before: int) -> int:
    """Return how many tasks have not ended, or the last number while MongoDB is away."""
    try:
        with site.mongodb.client() as client:
            return client[DATABASE][fields.TASKS].count_documents({fields.STATUS: {"$in": UNFINISHED}})
    except PyMongoError:
        return before


async def collect(site: Site, client: Client, ledger: Ledger, watchers: Watchers, options: Options) -> Evidence:
    """Collect the evidence as it is now."""
    documents = await asyncio.to_thread(_documents, site)
    records = {document[fields.ID]: TaskRecord(document) for document in documents}
    logged = [record.id for record in records.values() if record.kwargs.get("lines")]
    return Evidence(
        records=records,
        runs=await asyncio.to_thread(read_runs, site.executions),
        ledger=ledger,
        watches=watchers.watches,
        lists=watchers.lists,
        logs=await _logs(client, logged),
        losses=site.mongodb.losses,
        max_lost_attempts=3 if options.defaults else _MANY_LOST_ATTEMPTS,
        max_lost_workers=10 if options.defaults else _MANY_LOST_ATTEMPTS,
    )


def save(folder: Path, evidence: Evidence, site: Site, violations: Mapping[str, Sequence[str]]) -> None:
    """Write the evidence to files; the logs and the side file are there already."""
    documents = _documents(site)
    (folder / "records.json").write_text("\n".join(json_util.dumps(document) for document in documents))
    _dump(folder / "ledger.json", dataclasses.asdict(evidence.ledger))
    _dump(folder / "watches.json", [dataclasses.asdict(watch) for watch in evidence.watches])
    _dump(folder / "lists.json", [dataclasses.asdict(live) for live in evidence.lists])
    _dump(folder / "violations.json", dict(violations))


def _documents(site: Site) -> list[dict[str, Any]]:
    with site.mongodb.client() as client:
        return list(client[DATABASE].get_collection(fields.TASKS, codec_options=CODEC).find())


async def _logs(client: Client, task_ids: list[str]) -> dict[str, list[str]]:
    logs: dict[str, list[str]] = {}
    for start in range(0, len(task_ids), _BATCH):
        for task in (await client.insist(_LOGS, ids=task_ids[start : start + _BATCH]))["nodes"]:
            if task is not None:
                logs[task["id"]] = [line["message"] for line in task["logs"]["nodes"]]
    return logs


def _dump(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, default=sorted, indent=1))
