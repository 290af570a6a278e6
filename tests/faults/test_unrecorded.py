"""Task functions with ``record=False`` when their process is lost or their time is up, and while MongoDB is away."""

from __future__ import annotations

import pytest
from fault_site import Site
from support import wait_until

from gql_api.record import fields

pytestmark = pytest.mark.fault

_SEND = """
app.loader.import_default_modules()
print(app.tasks["fault_tasks.unseen"].apply_async({args!r}, **{options!r}).id)
"""


def _send(site: Site, *args: str, **options: float) -> str:
    return site.python(_SEND.format(args=args, options=options)).split()[-1]


def _records(site: Site) -> int:
    database = site.store._connections.database()  # noqa: SLF001 - no record is found by its id
    return sum(database[name].count_documents({}) for name in (fields.TASKS, fields.INTERNAL_TASKS))


def test_a_lost_process_and_a_time_limit_mean_what_they_mean_in_celery(site: Site) -> None:
    """The message of a lost process is delivered again; a hard limit ends the function; neither makes a record."""
    site.worker("first")
    lost = _send(site, "die", str(site.folder / "died"))
    wait_until(lambda: site.runs("end")[lost], why="the second run")
    assert site.runs("begin")[lost] == 2
    slow = _send(site, "hang", time_limit=1)
    site.began(slow)
    wait_until(lambda: f"{slow}".encode() in (site.folder / "first.log").read_bytes().split(b"Hard time limit")[-1])
    after = _send(site)
    wait_until(lambda: site.runs("end")[after], why="a task after the limit")
    assert (site.runs("begin")[slow], site.runs("end")[slow], _records(site)) == (1, 0, 0)


def test_it_needs_no_mongodb(site: Site) -> None:
    """Such a task is sent, and runs, while MongoDB is away."""
    site.worker("first")
    site.mongodb.kill()
    task_id = _send(site)
    wait_until(lambda: site.runs("end")[task_id], why="its end")
    site.mongodb.start()
    wait_until(lambda: _records(site) == 0)
