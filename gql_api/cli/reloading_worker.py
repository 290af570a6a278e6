"""The worker of ``gql-api dev``: a Celery worker that restarts when the code of ``TASK_MODULES`` changes."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from watchfiles import PythonFilter, watch

from gql_api.settings import Settings

_POLL_MILLISECONDS = 200
_GATHER_MILLISECONDS = 500
# Short tasks finish before a restart. The others are given back, and run again with the new code.
_FINISH_SECONDS = 3.0
# After this time the worker is killed, and its tasks run again when their leases end.
_GIVE_BACK_SECONDS = 10.0
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


def watched_folders(task_modules: Sequence[str]) -> list[Path]:
    """Return the folders with the code of task modules: their packages, or the folder of a module without one."""
    folders: set[Path] = set()
    for package in {name.partition(".")[0] for name in task_modules}:
        try:
            spec = importlib.util.find_spec(package)
        except ValueError:  # a module that was loaded in an unusual way
            continue
        if spec is None:
            continue
        if spec.submodule_search_locations is not None:
            folders.update(Path(folder).resolve() for folder in spec.submodule_search_locations)
        elif spec.origin is not None:
            folders.add(Path(spec.origin).resolve().parent)
    return sorted(folder for folder in folders if folder.is_dir())


class ReloadingWorker:
    """A Celery worker process, and its restarts.

    Args:
        command: the command of the worker.
        folders: the folders whose Python files restart it.
    """

    def __init__(self, command: Sequence[str], folders: Sequence[Path]) -> None:
        self._command = command
        self._folders = folders
        self._restarts = 0
        self._stopping = False
        self._worker: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Run the worker until a signal or its end; return its exit code.

        A worker that ends with an error after a restart, because the new code cannot be imported, waits for the next
        change.
        """
        for each in _FORWARDED:
            signal.signal(each, self._stop)
        worker = self._start()
        is_code = PythonFilter()
        # Unfiltered: a folder in which databases write all the time would not let the loop go on otherwise.
        for changes in watch(
            *self._folders,
            watch_filter=None,
            debounce=_GATHER_MILLISECONDS,
            rust_timeout=_POLL_MILLISECONDS,
            yield_on_timeout=True,
        ):
            ended = worker.poll() is not None
            if self._stopping or (ended and (worker.returncode <= 0 or not self._restarts)):
                break
            paths = sorted(_shown(path) for change, path in changes if is_code(change, path))
            if paths:
                _print(f"{', '.join(paths)} changed: the worker restarts")
                self._end(worker)
                self._restarts += 1
                worker = self._start()
        return worker.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        self._worker = subprocess.Popen(self._command)  # noqa: S603 - the command of gql-api dev
        if self._stopping:
            self._worker.terminate()
        return self._worker

    def _end(self, worker: subprocess.Popen[bytes]) -> None:
        for signal_, seconds in ((signal.SIGTERM, _FINISH_SECONDS), (signal.SIGQUIT, _GIVE_BACK_SECONDS)):
            worker.send_signal(signal_)
            try:
                worker.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return
        worker.kill()
        worker.wait()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if self._worker is not None:
            self._worker.send_signal(number)


def _shown(path: str) -> str:
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Run ``celery -A gql_api worker`` with these arguments; return its exit code."""
    command = [sys.executable, "-m", "celery", "-A", "gql_api", "worker", *arguments]
    code = ReloadingWorker(command, watched_folders(Settings.load_or_exit().task_modules)).run()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
