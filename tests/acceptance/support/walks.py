"""Applications on disk that are adopted, and go back to stock Celery, by the lines of docs/adopt.md."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import plain_http
from databases import Databases
from ports import free_port
from support import ROOT, Api, process, wait_until

_APPLICATIONS = ROOT / "tests" / "acceptance" / "applications"
_DIFF = re.compile(r"^```diff\n--- (?P<file>\S+)\n\+\+\+ \S+\n@@\n(?P<hunks>.*?)^```$", re.DOTALL | re.MULTILINE)
_OPERATION = re.compile(r"^ *```graphql\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_WORKER = ["-c", "1", "--without-mingle", "--loglevel=INFO"]
_API = ["-m", "uvicorn", "gql_api.app:app", "--no-access-log"]


@dataclass(frozen=True)
class Change:
    """A change of lines in a file, as a ``diff`` block of the document shows it."""

    file: str
    hunks: tuple[tuple[str, str], ...]

    def apply(self, folder: Path, *, back: bool = False) -> None:
        """Replace the old lines by the new ones, or the other way round; each has to be there exactly once."""
        path = folder / self.file
        text = "\n" + path.read_text()
        for hunk in self.hunks:
            old, new = reversed(hunk) if back else hunk
            assert text.count(f"\n{old}") == 1, f"{path} has no lines {old!r}"
            text = text.replace(f"\n{old}", f"\n{new}")
        path.write_text(text.removeprefix("\n"))


def changes_of(heading: str) -> list[Change]:
    """Return the changes that a section of docs/adopt.md shows."""
    return [
        Change(found["file"], tuple(_hunk(text) for text in found["hunks"].split("@@\n")))
        for found in _DIFF.finditer(_section(heading))
    ]


def operations_of(heading: str) -> list[str]:
    """Return the GraphQL operations that a section of docs/adopt.md shows."""
    return _OPERATION.findall(_section(heading))


def _section(heading: str) -> str:
    document = (ROOT / "docs" / "adopt.md").read_text()
    return document.split(f"\n### {heading}\n")[1].split("\n#")[0]


def _hunk(text: str) -> tuple[str, str]:
    lines = text.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if not line.startswith("+"))
    return old, "".join(line[1:] for line in lines if not line.startswith("-"))


@dataclass(frozen=True)
class Project:
    """A copy of an application in a folder of its own."""

    folder: Path
    web: list[str]
    worker: list[str]
    environment: dict[str, str]
    changes: list[Change]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def copied(cls, name: str, folder: Path, *, web: list[str], worker: str, environment: dict[str, str]) -> Project:
        """Copy an application. ``name`` is its folder in lower case, and the section of the document about it."""
        copy = folder / name.lower()
        shutil.copytree(_APPLICATIONS / name.lower(), copy)
        changes = changes_of(name)
        assert changes
        command = [*worker.split(), "worker", "-n", f"{name}@%h", *_WORKER]
        return cls(copy, web, command, {**environment, "PYTHONPATH": str(ROOT)}, changes)

    def adopt(self) -> None:
        """Change the files as the document says."""
        for change in self.changes:
            change.apply(self.folder)

    def go_back(self) -> None:
        """Undo :meth:`adopt`."""
        for change in self.changes:
            change.apply(self.folder, back=True)

    def run(self, *arguments: str) -> None:
        """Run a command of the project to its end."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, **self.environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def serving(self) -> Iterator[httpx.Client]:
        """Run the web server of the application, and yield a client of it."""
        port = free_port()
        command = [sys.executable, *(part.format(port=port) for part in self.web)]
        log = self._log("web")
        with (
            process(command, log, self.environment, cwd=self.folder) as started,
            plain_http.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        ):
            wait_until(lambda: _runs(started, log) and _answers(client), 60, "the web server to start")
            yield client

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Run a worker of the application."""
        log = self._log("worker")
        command = [sys.executable, "-m", "celery", *self.worker]
        with process(command, log, self.environment, cwd=self.folder) as started:
            wait_until(lambda: _runs(started, log) and " ready." in log.read_text(), 60, "the worker to start")
            yield

    @contextlib.contextmanager
    def observed(self) -> Iterator[Api]:
        """Run the API beside the application."""
        port = free_port()
        api = Api(f"http://127.0.0.1:{port}", self._log("api"), self.folder)
        with process([sys.executable, *_API, f"--port={port}"], api.log, self.environment):
            wait_until(api.is_ready, 60, "the API to start")
            yield api

    def _log(self, name: str) -> Path:
        log = self.folder.parent / f"{next(self._numbers)}-{name}.log"
        log.touch()
        return log


def environment_of(databases: Databases, number: int) -> dict[str, str]:
    """Return what a deployment would set: a broker with a number of its own, and a MongoDB database."""
    redis = f"{databases.redis.url.removesuffix('/0')}/{number}"
    return {
        "MONGODB_URL": databases.mongodb.url,
        "MONGODB_DATABASE": f"adoption_{number}",
        "CELERY_BROKER_URL": redis,
        "CELERY_RESULT_BACKEND": redis,
        "WORKER_HEARTBEAT_SECONDS": "1",
        "LEASE_SECONDS": "2",
        "RECOVERY_INTERVAL_SECONDS": "0.2",
    }


def _runs(started: subprocess.Popen[bytes], log: Path) -> bool:
    assert started.poll() is None, log.read_text()
    return True


def _answers(client: httpx.Client) -> bool:
    try:
        client.get("/")
    except httpx.TransportError:
        return False
    return True
