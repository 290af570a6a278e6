"""The front-end that the tests open, and the browser that opens it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def build_front_end(lock: Path) -> None:
    """Build the pages if they are older than their sources, once for all test processes.

    Args:
        lock: a file that all of them share.
    """
    if shutil.which("npm") is None:
        _leave_out("Node.js and npm are not installed: they build the pages that the browser tests open")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        command = [sys.executable, "hatch_build.py"]
        built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    if built.returncode:
        pytest.fail(f"`make web` failed:\n{built.stdout}{built.stderr}")


def find_chromium() -> str:
    """Return the path of the browser."""
    for name in _CHROMIUMS:
        if path := shutil.which(name):
            return path
    return _leave_out("Chromium is not installed: the browser tests drive Debian's package `chromium`")


def _leave_out(reason: str) -> str:
    """Fail in CI, where nothing may be left out in silence; elsewhere, skip the tests."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
