"""A folder as the build of the front-end writes it, for tests of how it is served."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

PAGE = """<!doctype html>
<html lang="en">
  <head>
    <base href="/" />
    <script type="application/json" id="config">
      {}
    </script>
    <script type="module" src="./assets/%s-1.js"></script>
  </head>
</html>
"""
SCRIPT = "console.log(1);\n" * 100


def need_pages() -> None:
    """Build the real pages, as `make test-slow` has done, or skip a test that needs them where npm is missing."""
    if shutil.which("npm") is None and not (ROOT / "gql_api" / "web" / "board.html").exists():
        pytest.skip("npm, which builds the board and the playground, is not installed")
    subprocess.run([sys.executable, "hatch_build.py"], cwd=ROOT, check=True)


def build(folder: Path, number: int = 1) -> None:
    """Write two pages and their assets, whose names have a number in place of a hash."""
    assets = folder / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    for name in ("board", "playground"):
        (folder / f"{name}.html").write_text(PAGE % name)
        script = assets / f"{name}-{number}.js"
        script.write_text(SCRIPT)
        script.with_suffix(".js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
        # The API does not look into it.
        script.with_suffix(".js.br").write_bytes(b"brotli")
    (assets / "icons-1.woff2").write_bytes(b"font")
    (assets / "notes.txt").write_text("of an unknown type")
