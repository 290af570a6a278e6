"""The REST endpoints over tasks with values that not every encoder of JSON can write."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest
from front import Front
from pymongo.collection import Collection

from gql_api.record import fields as f
from gql_api.record import writes
from gql_api.record.reads import Document
from gql_api.worker.store.tasks import Store


@pytest.mark.parametrize("value", ["lone \ud800", {"\udfff": [2**70, "é"]}, [math.nan, "\ud800"]])
async def test_any_result_is_returned(front: Front, worker: Store, task_id: str, value: Any) -> None:
    """A result that GraphQL returns is returned here too, by its id and in a list with other tasks."""
    worker.change(writes.succeed(task_id, value))
    query = f'{{ task(id: "{task_id}") {{ result }} }}'
    async with httpx.AsyncClient(transport=httpx.ASGITransport(front.app), base_url="http://localhost") as client:
        answers = [await client.get(f"/task/{task_id}"), await client.get("/tasks")]
        expected = (await client.post("/graphql", json={"query": query})).json()["data"]["task"]["result"]
    assert [answer.status_code for answer in answers] == [200, 200]
    one, (listed,) = [answer.json() for answer in answers]
    assert one["result"] == listed["result"] == expected
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}


async def test_a_record_that_does_not_fit_is_no_fault_of_the_client(
    front: Front, tasks: Collection[Document], task_id: str
) -> None:
    """Its status is 500, with the message that names the record."""
    tasks.update_one({f.ID: task_id}, {"$set": {f.REVISION: "x"}}, bypass_document_validation=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(front.app), base_url="http://localhost") as client:
        answer = await client.get(f"/task/{task_id}")
    assert answer.status_code == 500
    assert task_id in answer.json()["errors"][0]["message"]
