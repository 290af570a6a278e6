"""The connections of a worker or a sender to MongoDB and Redis."""

from __future__ import annotations

import subprocess
import sys

from support import ROOT

from gql_api.settings import Settings

# What is registered last runs first: PyMongo's own end comes after the report.
_PROGRAM = """
import atexit, threading, time
import pymongo
def threads(): return [each.name for each in threading.enumerate() if each.name.startswith("pymongo")]
def report():
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    print(threads())
atexit.register(report)
from gql_api.settings import Settings
from gql_api.worker.store.connections import Connections
connections = Connections(Settings(mongodb_url={url!r}))
connections.mongo().admin.command("ping")
print(threads())
"""


def test_the_end_of_a_program_waits_for_no_connection(settings: Settings) -> None:
    """PyMongo's threads have ended with their client; without that, a program waits a second for them at its end."""
    command = [sys.executable, "-c", _PROGRAM.format(url=settings.mongodb_url)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    before, after = done.stdout.splitlines()
    assert "pymongo_server_monitor_thread" in before
    assert after == "[]"
