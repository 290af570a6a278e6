"""The probes at the end of a run: each worker takes a task that no other worker can take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from chaos_client import Client, LossError
from chaos_ledger import Ledger, Order
from chaos_site import probe_queue

_CREATE = """mutation ($queue: String!, $name: JSON!) {
  createTask(input: {name: "chaos_tasks.work", queue: $queue, kwargs: {value: $name}}) {
    task { id } userErrors { message }
  }
}"""
_TASK = "query ($id: ID!) { task(id: $id) { status worker } }"
_PROBE_SECONDS = 40.0
_POLL_SECONDS = 0.3


async def probe(client: Client, ledger: Ledger, workers: Sequence[str]) -> list[str]:
    """Send a task to each worker's own queue, and return what is wrong with those that do not run it in time."""
    problems = await asyncio.gather(*(_probe(client, ledger, worker) for worker in workers))
    return [problem for problem in problems if problem]


async def _probe(client: Client, ledger: Ledger, worker: str) -> str | None:
    since, last = time.monotonic(), "it has no answer"
    task_id: str | None = None
    while time.monotonic() - since < _PROBE_SECONDS:
        try:
            if task_id is None:
                variables = {"queue": probe_queue(worker), "name": worker}
                payload = (await client.execute(client.any_replica(), _CREATE, **variables))["createTask"]
                # Until its heartbeat has announced the queue, a worker that was restarted is not known.
                last = str(payload["userErrors"])
                task_id = payload["task"] and payload["task"]["id"]
                if task_id is not None:
                    ledger.orders[task_id] = Order(task_id, "probe", since, time.monotonic())
            else:
                task = (await client.execute(client.any_replica(), _TASK, id=task_id))["task"]
                last = f"{task_id}: {task}"
                if task and task["status"] == "SUCCESS":
                    return None
        except LossError as error:
            last = repr(error)
        await asyncio.sleep(_POLL_SECONDS)
    return f"{worker} did not run a task in its own queue within {_PROBE_SECONDS:.0f} s: {last}"
