"""Settings that cannot work end every process with one line that names the variable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

_WORKERS = {
    "worker": ["celery", "-A", "gql_api", "worker"],
    "worker of a checkout": ["celery", "-A", "jobs", "worker"],
}
_COMMANDS = {
    **_WORKERS,
    "uvicorn": ["uvicorn", "gql_api.app:app", "--port=1"],
    "serve": ["gql_api", "serve"],
    "dev": ["gql_api", "dev"],
}


def _error(command: list[str], folder: Path, **variables: str) -> str:
    """Run a command that must fail, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("command", _COMMANDS.values(), ids=_COMMANDS)
def test_a_value_that_cannot_work_is_one_line(command: list[str], tmp_path: Path) -> None:
    """The line names each variable."""
    printed = _error(command, tmp_path, METADATA_MAX_BYTES="many", LEASE_SECONDS="0")
    (line,) = printed.splitlines()
    assert line.startswith("Error: ")
    assert "METADATA_MAX_BYTES: " in line
    assert "LEASE_SECONDS: " in line


@pytest.mark.parametrize("name", ["shop", "shop.tasks", "gql_api.nothing", "gql_api.celery.nothing"])
def test_a_task_module_that_does_not_exist_is_one_line(name: str, tmp_path: Path) -> None:
    """The line names the variable and the module."""
    printed = _error(_WORKERS["worker"], tmp_path, TASK_MODULES=f"gql_api.worker.bundled, {name}")
    assert printed.splitlines() == [
        f"Error: TASK_MODULES: there is no module {name!r}; modules are separated by commas"
    ]


def test_an_error_inside_a_task_module_keeps_its_traceback(tmp_path: Path) -> None:
    """The module exists, and its author needs the line of the error."""
    (tmp_path / "broken.py").write_text("import not_installed\n")
    assert "No module named 'not_installed'" in _error(_WORKERS["worker"], tmp_path, TASK_MODULES="broken")
