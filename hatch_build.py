"""Builds the board and the playground from web/: for `make web`, and for a wheel or an sdist, which contain them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PAGES = ("board.html", "playground.html")
# What npm and the build write into the folder of the sources.
_WRITTEN = ("node_modules", "src/gql")
_NO_NODE = (
    "The board and the playground are not built, and npm, which builds them, is not installed: install Node.js 20 or "
    "newer, or take gql-api from its wheel or sdist"
)
_NO_SOURCES = "The board and the playground are not built, and their sources in web/ are missing"
_FAILED = "The board and the playground cannot be built: the output of npm above has the reason"


class PagesError(Exception):
    """The pages cannot be built. The message says why, and what helps."""


class PagesHook(BuildHookInterface[Any]):
    """A build hook of hatchling. An editable installation serves what `make web` builds, and needs no Node.js."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - its interface
        """Build the pages before their files are collected."""
        if version == "editable":
            return
        try:
            build_pages(Path(self.root))
        except PagesError as error:
            self.app.abort(str(error))


def build_pages(root: Path) -> None:
    """Build the pages, unless they are newer than their sources. An sdist has the pages and no sources.

    Raises:
        PagesError: there are no pages, and npm or the sources are missing, or npm has failed.
    """
    web, npm = root / "web", shutil.which("npm")
    has_sources = (web / "package.json").exists()
    built = [root / "gql_api" / "web" / name for name in _PAGES]
    is_built = all(page.exists() for page in built)
    if is_built and (npm is None or not has_sources):
        return
    if not has_sources:
        raise PagesError(_NO_SOURCES)
    if npm is None:
        raise PagesError(_NO_NODE)
    if is_built and min(map(_time, built)) >= max(map(_time, _sources(root))):
        return
    packages = web / "node_modules"
    if not packages.exists() or _time(packages) < _time(web / "package-lock.json"):
        _run(npm, "ci", "--no-audit", "--no-fund", folder=web)
        packages.touch()
    _run(npm, "run", "--silent", "build", folder=web)


def _sources(root: Path) -> Iterator[Path]:
    web = root / "web"
    written = {web / name for name in _WRITTEN}
    yield root / "schema.graphql"
    for folder, folders, files in os.walk(web):
        folders[:] = [name for name in folders if Path(folder) / name not in written]
        yield from (Path(folder) / name for name in files)


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns


def _run(*command: str, folder: Path) -> None:
    # The standard output of a build belongs to its front-end.
    if subprocess.run(command, cwd=folder, stdout=sys.stderr, check=False).returncode:
        raise PagesError(_FAILED)


if __name__ == "__main__":
    try:
        build_pages(Path(__file__).parent)
    except PagesError as error:
        sys.exit(f"Error: {error}")
