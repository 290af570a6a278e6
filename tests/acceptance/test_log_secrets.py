"""What the logs of the API and of a worker show of a task: neither its arguments nor its result, and no forged line."""

from __future__ import annotations

from support import Api, wait_until

_CANARY = "canary-4711"
_FORGED = "\n[2026-01-01 00:00:00,000: ERROR/MainProcess] forged\x1b[2J"


def test_logs_have_neither_arguments_nor_results(api: Api) -> None:
    """Those of a task that succeeds, of one whose input is refused, and of one that does not exist."""
    lengths = [log.stat().st_size for log in (api.worker_log, api.log)]
    task_id = api.create("long_running_task", kwargs={"task_input": _CANARY, "seconds": 0}, metadata={"x": _CANARY})
    assert _CANARY in api.finished(task_id)["result"]
    create = "mutation ($input: CreateTaskInput!) { createTask(input: $input) { userErrors { message } } }"
    for name in ("value_tasks.fails_with", f"unknown-{_CANARY}"):
        payload = api.data(create, input={"name": name, "args": [1, _CANARY]})["createTask"]
        assert payload["userErrors"]
    wait_until(lambda: f"{task_id}] succeeded in " in api.worker_log.read_text())
    for log, length in zip((api.worker_log, api.log), lengths, strict=True):
        assert _CANARY not in log.read_bytes()[length:].decode()


def test_an_exception_forges_no_line(api: Api) -> None:
    """Its text is in the worker's log, with escaped control characters and indented lines."""
    length = api.worker_log.stat().st_size
    task_id = api.create("value_tasks.fails_with", args=[f"shown{_FORGED}"])
    assert api.finished(task_id)["error"]["message"] == f"shown{_FORGED}"
    wait_until(lambda: f"{task_id}] raised unexpected" in api.worker_log.read_text())
    log = api.worker_log.read_bytes()[length:].decode()
    assert "ValueError: shown\n    [2026-01-01" in log
    assert "logged: shown\n    [2026-01-01" in log
    assert "\x1b" not in log
    assert "\n[2026-01-01" not in log
