"""The build hook of the wheel and `make web`, with a npm that notes how it was called."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import built
import pytest
from support import ROOT

_NPM = """#!/bin/sh
echo "$PWD $*" >> "$NPM_CALLS"
if [ "$1" = ci ]; then mkdir -p node_modules; fi
if [ "$1" = run ]; then mkdir -p ../gql_api/web; touch ../gql_api/web/board.html ../gql_api/web/playground.html; fi
exit ${NPM_RESULT:-0}
"""


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hatch_build: Any = _module()


class Project:
    """A checkout with sources of pages, and the calls of npm in it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = folder / "project"
        self._calls = folder / "calls"
        self._monkeypatch = monkeypatch
        (self.root / "web" / "src" / "gql").mkdir(parents=True)
        for name in ("schema.graphql", "web/package.json", "web/package-lock.json", "web/src/board.tsx"):
            (self.root / name).touch()
        monkeypatch.setenv("NPM_CALLS", str(self._calls))
        commands = folder / "bin"
        commands.mkdir()
        (commands / "npm").write_text(_NPM)
        (commands / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")

    def without_npm(self) -> None:
        """Take npm away."""
        self._monkeypatch.setenv("PATH", "/nowhere")

    def build(self) -> list[str]:
        """Build the pages, and return how npm was called."""
        self._calls.write_text("")
        hatch_build.build_pages(self.root)
        return [line.removeprefix(f"{self.root}/web ").split()[0] for line in self._calls.read_text().splitlines()]

    def change(self, name: str) -> None:
        """Give a file a later time than all others have."""
        path = self.root / name
        path.touch()
        later = max(each.stat().st_mtime_ns for each in self.root.rglob("*")) + 1
        os.utime(path, ns=(later, later))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A checkout in which nothing is built."""
    return Project(tmp_path, monkeypatch)


def test_pages_are_built_when_their_sources_are_newer(project: Project) -> None:
    """The packages are installed once for each lock file. What the build itself writes counts for nothing."""
    assert project.build() == ["ci", "run"]
    assert project.build() == []
    for written in ("web/src/gql/graphql.ts", "web/node_modules/a.js"):
        project.change(written)
        assert project.build() == []
    for source in ("web/src/board.tsx", "schema.graphql"):
        project.change(source)
        assert project.build() == ["run"]
        project.change("gql_api/web/board.html")
        project.change("gql_api/web/playground.html")
    project.change("web/package-lock.json")
    assert project.build() == ["ci", "run"]


def test_without_node_built_pages_are_taken_as_they_are(project: Project) -> None:
    """A wheel can be made of them where npm is missing, or where the sources are, as of an sdist."""
    built.build(project.root / "gql_api" / "web")
    project.change("schema.graphql")
    (project.root / "web" / "package.json").unlink()
    assert project.build() == []
    (project.root / "web" / "package.json").touch()
    project.without_npm()
    assert project.build() == []


def test_without_node_and_pages_a_build_fails(project: Project) -> None:
    """The error says in one sentence what is missing."""
    project.without_npm()
    with pytest.raises(hatch_build.PagesError, match=r"^The board and the playground are not built, and npm, .*"):
        project.build()
    (project.root / "web" / "package.json").unlink()
    with pytest.raises(hatch_build.PagesError, match=r"^The board and the playground are not built, and their sources"):
        project.build()


def test_a_build_fails_with_npm(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel without pages, or with half of them, is not made."""
    monkeypatch.setenv("NPM_RESULT", "1")
    with pytest.raises(hatch_build.PagesError, match=r"^The board and the playground cannot be built"):
        project.build()


@pytest.mark.parametrize(("version", "is_aborted"), [("standard", True), ("editable", False)])
def test_an_editable_installation_builds_nothing(project: Project, version: str, is_aborted: bool) -> None:
    """`make dev` installs the checkout where there is no Node.js."""
    project.without_npm()
    app = Mock()
    hook = hatch_build.PagesHook(str(project.root), {}, None, None, str(project.root), "wheel", app)
    hook.initialize(version, {})
    assert app.abort.called is is_aborted
