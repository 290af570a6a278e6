from __future__ import annotations

import json
import os
import re
import subprocess

import plain_http
import pytest
from support import ROOT, Api

_COMMANDS = re.findall(r"^```bash\n(.*?)^```$", (ROOT / "docs" / "rest.md").read_text(), re.DOTALL | re.MULTILINE)


def _run(api: Api, command: str, task_id: str = "") -> str:
    at = command.replace("localhost:8000", api.url.removeprefix("http://"))
    env = {**os.environ, "TASK_ID": task_id}
    done = subprocess.run(["bash", "-c", at], capture_output=True, text=True, timeout=60, check=True, env=env)  # noqa: S607
    return done.stdout


def test_the_calls_work_as_printed(api: Api) -> None:
    """The commands of the docs create a task, read it and list it, and GraphQL returns the same task."""
    create, ask, list_ = _COMMANDS
    task_id = json.loads(_run(api, create))
    metadata = {"metadata_1": "first", "metadata_2": "second"}
    asked = json.loads(_run(api, ask, task_id))
    assert (asked["task_id"], asked["metadata"]) == (task_id, metadata)
    assert asked["status"] in {"QUEUED", "STARTED"}
    (listed,) = [task for task in json.loads(_run(api, list_)) if task["task_id"] == task_id]
    assert listed["metadata"] == metadata
    assert api.task(task_id)["kwargs"] == {"task_input": "a big file"}


def test_a_result_is_told(api: Api) -> None:
    """A finished task has its result and status over REST too."""
    task_id = api.create("task_modules.add", args=[1])
    api.finished(task_id)
    answer = plain_http.get(f"{api.url}/task/{task_id}").json()
    assert (answer["status"], answer["result"], answer["error"]) == ("SUCCESS", 2, None)


def test_the_link_leads_through_the_list(api: Api) -> None:
    """The Link headers lead to every task, newest first."""
    ids = [api.create("task_modules.add", args=[n]) for n in range(4)]
    seen: list[str] = []
    # A few pages show all tasks, however many other tests have created.
    size = 3 + api.data("{ tasks(first: 1) { totalCount } }")["tasks"]["totalCount"] // 16
    url: str | None = f"{api.url}/tasks?first={size}"
    while url is not None:
        page = plain_http.get(url)
        seen += [task["task_id"] for task in page.json()]
        link = page.links.get("next", {}).get("url")
        url = link and str(page.url.join(link))
    assert [task_id for task_id in seen if task_id in ids] == list(reversed(ids))
    assert len(seen) == len(set(seen))


def test_an_unknown_task_is_a_404(api: Api) -> None:
    """An unknown task is not reported as pending."""
    assert plain_http.get(f"{api.url}/task/nope").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400), ("{", 400), ("[]", 400), ("{}", 400), ('{"task_input": NaN}', 400),
        (json.dumps({"task_input": 1, "metadata_1": 2**64}), 422),
        (json.dumps({"task_input": 1, "metadata_1": "x" * 70_000}), 422),
    ],
)  # fmt: skip
def test_bad_bodies_are_refused_in_words(api: Api, body: str, status: int) -> None:
    """A task that cannot be created is a 4xx with the reason."""
    answer = plain_http.post(f"{api.url}/create-task", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_creates_a_task(api: Api, content_type: str) -> None:
    """What the form of a web page may send without being asked gets a 415."""
    answer = plain_http.post(
        f"{api.url}/create-task", content='{"task_input": 1}', headers={"Content-Type": content_type}
    )
    assert answer.status_code == 415
    assert answer.json()["errors"][0]["message"] == "The body must be application/json"


@pytest.mark.parametrize(
    "query",
    ["first=0", "first=x", "after=x", "first=501", "first=9999999999", "first=9876543210", "first=1" + "0" * 5000],
    ids=lambda query: query[:20],
)
def test_bad_pages_are_refused_in_words(api: Api, query: str) -> None:
    """An invalid page size or cursor is a 400."""
    answer = plain_http.get(f"{api.url}/tasks?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"]
