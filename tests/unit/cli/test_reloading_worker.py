from __future__ import annotations

from pathlib import Path

import pytest

from gql_api.cli.reloading_worker import watched_folders


def test_the_folders_of_task_modules_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with or without an __init__ has a folder, a module alone is in one, and a missing one has none."""
    for module in ("regular/__init__.py", "regular/tasks.py", "namespace/deep/tasks.py", "alone/single_tasks.py"):
        (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / module).touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "alone")
    modules = ["regular.tasks", "regular", "namespace.deep.tasks", "single_tasks", "there_is_no_such_module", ".bad"]
    folders = [tmp_path / "alone", tmp_path / "namespace", tmp_path / "regular"]
    assert watched_folders(modules) == [folder.resolve() for folder in folders]
