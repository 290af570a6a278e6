"""The front-end that the tests open: built once, if it is missing or older than its sources."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT

WEB = ROOT / "web"
_BUILT = ROOT / "gql_api" / "web" / "board.html"
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def build_front_end(lock: Path) -> None:
    """Build the pages, once for all test processes.

    Args:
        lock: a file that all of them share.
    """
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # axe is one of the packages.
        if _is_current() and (WEB / "node_modules" / "axe-core").exists():
            return
        if shutil.which("npm") is None:
            _leave_out("Node.js and npm are not installed: they build the pages that the browser tests open")
        if not (WEB / "node_modules" / "axe-core").exists():
            _run("npm", "ci", "--silent", "--no-audit", "--no-fund")
        _run("npm", "run", "build")


def find_chromium() -> str:
    """Return the path of the browser."""
    for name in _CHROMIUMS:
        if path := shutil.which(name):
            return path
    return _leave_out("Chromium is not installed: the browser tests drive Debian's package `chromium`")


def _is_current() -> bool:
    return _BUILT.exists() and _BUILT.stat().st_mtime > max(path.stat().st_mtime for path in _sources())


def _sources() -> Iterator[Path]:
    yield ROOT / "schema.graphql"
    yield from (path for path in WEB.iterdir() if path.is_file())
    # The types that the build itself writes are no source.
    yield from (path for path in (WEB / "src").rglob("*") if path.is_file() and path.parts[-2] != "gql")


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        pytest.fail(f"`{' '.join(command)}` failed in web/:\n{done.stdout}{done.stderr}")


def _leave_out(reason: str) -> str:
    """Fail in CI, where nothing may be left out in silence; elsewhere, skip the tests."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
