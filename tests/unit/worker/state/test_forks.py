"""The locks of Celery and kombu in a process that was forked while a thread held them."""

from __future__ import annotations

import subprocess
import sys

# Prints the names of the locks that the child cannot take. A thread holds them: a holder may take its own RLock again.
_PROGRAM = """
import os, sys, threading
from gql_api.worker.state.forks import renew_locks
if {renewed}:
    renew_locks()
from celery import Celery, signals
from kombu.transport.redis import Channel

locked = {{
    "Channel.client": vars(Channel)["client"],
    "Celery.amqp": vars(Celery)["amqp"],
    "before_task_publish": signals.before_task_publish,
}}
held = threading.Event()

def hold():
    for each in locked.values():
        each.lock.acquire()
    held.set()
    threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
if os.fork() == 0:
    print(sorted(name for name, each in locked.items() if not each.lock.acquire(blocking=False)), flush=True)
    os._exit(0)
os.wait()
"""


def _locked_in_child(*, renewed: bool) -> str:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _PROGRAM.format(renewed=renewed)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_a_forked_process_does_not_inherit_locks_of_other_threads() -> None:
    """It can open connections and send signals, also those of modules that were imported later."""
    assert _locked_in_child(renewed=False) == "['Celery.amqp', 'Channel.client', 'before_task_publish']"
    assert _locked_in_child(renewed=True) == "[]"
