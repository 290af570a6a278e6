"""Task functions of a shop, for the browser tests and for the screenshots of the documentation."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from celery import shared_task
from pydantic import Field
from redis import Redis

from gql_api.worker.app.task import Task


def _redis() -> Redis:
    return Redis.from_url(os.environ["CELERY_BROKER_URL"], decode_responses=True, socket_timeout=None)


@shared_task(bind=True, name="orders.import")
def import_orders(
    self: Task,
    file: Annotated[str, Field(description="The file to import, from the folder of incoming files.")],
    rows: Annotated[int, Field(ge=1, le=10_000, description="How many rows it has.")] = 4,
    mode: Literal["append", "replace"] = "append",
    gate: str = "",
) -> dict[str, object]:
    """Import orders from a file, and report the progress of each row. A gate holds each step back."""
    self.log("Importing %s (%s)", file, mode)
    with _redis() as redis:
        for row in range(1, rows + 1):
            if gate:
                redis.brpop([gate], timeout=60)
            self.report_progress(row, rows, f"row {row} of {rows}")
    self.log("Imported %d rows", rows)
    return {"file": file, "rows": rows, "mode": mode}


@shared_task(bind=True, name="billing.charge_card")
def charge_card(self: Task, customer: str, amount: float, until: str = "") -> str:
    """Charge a card. The bank does not answer until a key is set in Redis."""
    self.log("Charging %s with %.2f", customer, amount)
    with _redis() as redis:
        if until and not redis.exists(until):
            self.log("The bank does not answer", level="error")
            raise ConnectionError(f"bank.example.com does not answer for {customer}")
    return f"charged {amount:.2f}"
