"""A folder as the build of the front-end writes it, for tests of how it is served."""

from __future__ import annotations

import gzip
from pathlib import Path

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
