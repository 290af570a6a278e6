"""Django, Flask and FastAPI applications go from stock Celery to adopted and back, by the lines of docs/adopt.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from walks import Project


@pytest.mark.parametrize("name", ["Django", "Flask", "FastAPI"])
def test_the_lines_of_the_document_fit_and_can_be_undone(name: str, tmp_path: Path) -> None:
    """The document changes lines that the application has, by valid Python, and the way back restores each file."""
    project = Project.copied(name, tmp_path, web=[], worker="", environment={})
    files = {change.file: (project.folder / change.file).read_text() for change in project.changes}
    project.adopt()
    for file, before in files.items():
        after = (project.folder / file).read_text()
        assert "adopt(Celery(" in after
        assert "adopt" not in before
        ast.parse(after)
    project.go_back()
    assert {file: (project.folder / file).read_text() for file in files} == files
