"""Plain Celery programs, each in a process of its own, which is forked from one that has imported their modules.

The imports take most of the time of such a program.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

Run: TypeAlias = Callable[[str], Any]

_SECONDS = 60
_HEAD = """
import json, time
from celery import Celery, chain, chord, group
from celery.exceptions import ChordError, TaskRevokedError
from jobs.celery import app
app.loader.import_default_modules()
from task_modules import *
def report(value): print(json.dumps(value))
def ids(result): return [] if result is None else [*ids(result.parent), result.id]
"""


@contextlib.contextmanager
def programs(environment: Mapping[str, str]) -> Iterator[Run]:
    """Yield a function that runs a program beside the worker and returns its report."""
    command = [sys.executable, str(Path(__file__).resolve())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        requests, answers = parent.stdin, parent.stdout
        assert requests is not None
        assert answers is not None

        def run(program: str) -> Any:
            print(json.dumps(program), file=requests, flush=True)
            code, printed, errors = json.loads(answers.readline())
            assert code == 0, errors
            return json.loads(printed)

        yield run
        requests.close()


def _serve() -> None:
    """Run each program of standard input in a child, and print its exit code and what it has printed."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(_HEAD, names)  # noqa: S102 - the code of the tests
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as errors:
            child = os.fork()
            if child == 0:
                os.dup2(printed.fileno(), sys.stdout.fileno())
                os.dup2(errors.fileno(), sys.stderr.fileno())
                signal.alarm(_SECONDS)
                exec(json.loads(line), names)  # noqa: S102 - as above
                sys.stdout.flush()
                # The end of an interpreter waits a second for the threads of PyMongo.
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            sys.stdout.write(f"{json.dumps([code, _read(printed), _read(errors)])}\n")
            sys.stdout.flush()


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


if __name__ == "__main__":
    _serve()
