"""What Prometheus reads, on a real API."""

from __future__ import annotations

import plain_http
from prometheus_client.parser import text_string_to_metric_families
from support import Api, wait_until


def _read(api: Api, name: str, **labels: str) -> float:
    text = plain_http.get(f"{api.url}/metrics").raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


def test_requests_and_tasks_are_counted(api: Api) -> None:
    """Requests by method, path and status, with no series for paths that clients make up; tasks that wait by status."""
    posts = {"method": "POST", "path": "/graphql", "status": "200"}
    before = _read(api, "gql_api_http_requests_total", **posts), _read(api, "gql_api_tasks_created_total")
    task_id = api.create("task_modules.add", args=[1], delaySeconds=3600)
    assert _read(api, "gql_api_http_requests_total", **posts) >= before[0] + 1
    assert _read(api, "gql_api_tasks_created_total") == before[1] + 1
    assert _read(api, "gql_api_tasks_unfinished", status="SCHEDULED") >= 1
    assert plain_http.get(f"{api.url}/made-up-{task_id}").status_code == 404
    assert _read(api, "gql_api_http_requests_total", path="other", status="404") >= 1
    assert _read(api, "gql_api_http_requests_total", path=f"/made-up-{task_id}") == 0
    assert _read(api, "gql_api_http_request_seconds_count", path="/graphql") >= 1
    api.data("mutation ($id: ID!) { cancelTask(id: $id) { task { id } } }", id=task_id)


def test_fallbacks_are_counted_by_reason(api: Api) -> None:
    """What only graphql-core can answer is counted with its reason; an ordinary query and its watch count nothing."""
    name, reasons = "gql_api_execution_fallbacks_total", ("not_compilable", "error", "unexpected")
    task_id = api.create("task_modules.add", args=[1], delaySeconds=3600)
    before = {reason: _read(api, name, reason=reason) for reason in reasons}
    api.task(task_id)
    api.data("{ tasks(first: 5) { nodes { id status children { totalCount } parent { id } } } }")
    next(api.watch(f'subscription {{ taskUpdated(id: "{task_id}") {{ id status history {{ at }} }} }}'))
    assert {reason: _read(api, name, reason=reason) for reason in reasons} == before
    query = "query ($id: ID!, $less: Boolean = true) { task(id: $id) { id name @skip(if: $less) } }"
    assert "less" in api.refusal(query, id=task_id, less=None)["message"]
    assert {reason: _read(api, name, reason=reason) for reason in reasons} == {**before, "error": before["error"] + 1}
    api.data("mutation ($id: ID!) { cancelTask(id: $id) { task { id } } }", id=task_id)


def test_live_updates_are_counted(api: Api) -> None:
    """Sockets and subscriptions while they are there; events and deliveries for good."""
    task_id = api.create("task_modules.add", args=[1], delaySeconds=3600)
    names = ("gql_api_events_total", "gql_api_deliveries_total")
    before = {name: _read(api, name) for name in names}
    seen = []
    for data in api.watch(f'subscription {{ taskUpdated(id: "{task_id}") {{ status }} }}'):
        seen.append(data["taskUpdated"]["status"])
        if len(seen) == 1:
            assert _read(api, "gql_api_sockets") >= 1
            assert _read(api, "gql_api_subscriptions") >= 1
            assert _read(api, "gql_api_executions") >= 1
            assert _read(api, "gql_api_watched_tasks") >= 1
            api.data("mutation ($id: ID!) { cancelTask(id: $id) { task { id } } }", id=task_id)
    assert seen == ["SCHEDULED", "REVOKED"]
    assert all(_read(api, name) > before[name] for name in names)
    wait_until(lambda: _read(api, "gql_api_subscriptions") == 0, why="the subscription to be gone")
