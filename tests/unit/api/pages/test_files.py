from __future__ import annotations

import os
from pathlib import Path

import built
import pytest

from gql_api.api.pages.files import BuiltFiles


def test_without_a_build_there_are_no_files_until_there_is_one(tmp_path: Path) -> None:
    """A build that ends while the server runs is found, and so is one that is taken away."""
    folder = tmp_path / "web"
    files = BuiltFiles(folder)
    assert files.page("board.html") is None
    assert files.asset("board-1.js") is None
    built.build(folder)
    files.refresh()
    assert files.page("board.html") == built.PAGE % "board"
    assert files.asset("board-1.js")
    (folder / "board.html").unlink()
    files.refresh()
    assert files.page("playground.html") is None


def test_a_new_build_replaces_the_names(tmp_path: Path) -> None:
    """Names of an earlier build are unknown after the next one."""
    built.build(tmp_path)
    files = BuiltFiles(tmp_path)
    for path in (tmp_path / "assets").glob("board*"):
        path.unlink()
    built.build(tmp_path, 2)
    os.utime(tmp_path / "assets", ns=(1, 1))
    files.refresh()
    assert files.asset("board-1.js") is None
    assert files.asset("board-2.js")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../board.html", "board.html", "notes.txt", "board-1.js.gz", "/etc/passwd", "BOARD-1.JS"]
)
def test_only_assets_that_the_build_wrote_have_a_name(tmp_path: Path, name: str) -> None:
    """A name is looked up, and never becomes a path."""
    built.build(tmp_path)
    assert BuiltFiles(tmp_path).asset(name) is None


@pytest.mark.parametrize(
    ("weights", "encoding"),
    [
        ({}, None), ({"identity": 1.0}, None), ({"gzip": 1.0}, "gzip"), ({"gzip": 1.0, "br": 0.5}, "br"),
        ({"gzip": 1.0, "br": 0.0}, "gzip"), ({"*": 1.0}, "br"), ({"*": 1.0, "br": 0.0}, "gzip"), ({"*": 0.0}, None),
        ({"zstd": 1.0}, None),
    ],
    ids=str,
)  # fmt: skip
def test_the_most_compact_variant_that_the_client_accepts_is_chosen(
    tmp_path: Path, weights: dict[str, float], encoding: str | None
) -> None:
    """Browsers accept both encodings with one weight; a weight of 0 refuses one."""
    built.build(tmp_path)
    files = BuiltFiles(tmp_path)
    script, font = files.asset("board-1.js"), files.asset("icons-1.woff2")
    assert script
    assert font
    suffix = {None: "", "br": ".br", "gzip": ".gz"}[encoding]
    assert script.choose(weights) == (tmp_path / "assets" / f"board-1.js{suffix}", encoding)
    assert font.choose(weights) == (tmp_path / "assets" / "icons-1.woff2", None)
