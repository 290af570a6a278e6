"""The files that the build of the front-end has written: two pages, and the assets that they load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "web"
"""The folder of the build, which is data of the package, and not part of a checkout."""

_PAGES = ("board.html", "playground.html")
_BOARD_DOCUMENTS = "trusted-documents.json"
_MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".woff2": "font/woff2",
}
# The most compact one comes first.
_ENCODINGS = {"br": ".br", "gzip": ".gz"}


@dataclass(frozen=True)
class Asset:
    """A file with a hash of its content in its name, and its compressed variants by their content encoding."""

    media_type: str
    path: Path
    compressed: Mapping[str, Path]

    def choose(self, weights: Mapping[str, float]) -> tuple[Path, str | None]:
        """Return the most compact variant that a client accepts, and its content encoding.

        Args:
            weights: the weights that the client gives to content encodings.
        """
        for encoding, path in self.compressed.items():
            if weights.get(encoding, weights.get("*", 0.0)) > 0:
                return path, encoding
        return self.path, None


@dataclass(frozen=True)
class _Contents:
    """The folder at one time. The stamp changes when a build writes to it."""

    stamp: tuple[int, ...] | None = None
    pages: Mapping[str, str] = field(default_factory=dict)
    assets: Mapping[str, Asset] = field(default_factory=dict)


class BuiltFiles:
    """The pages and assets by name. No other file can be reached: a name that no build wrote is unknown.

    Args:
        folder: the folder of the build.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents = _Contents()
        self.refresh()

    def refresh(self) -> None:
        """Read the folder again if a build has written to it: in a checkout that happens while the server runs."""
        stamp = self._stamp()
        if stamp != self._contents.stamp:
            self._contents = _Contents() if stamp is None else self._read(stamp)

    def page(self, name: str) -> str | None:
        """Return the text of a page, or None if it was not built."""
        return self._contents.pages.get(name)

    def asset(self, name: str) -> Asset | None:
        """Return the asset with a name, or None."""
        return self._contents.assets.get(name)

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            return tuple((self._folder / name).stat().st_mtime_ns for name in ("assets", *_PAGES))
        except OSError:
            return None

    def _read(self, stamp: tuple[int, ...]) -> _Contents:
        try:
            pages = {name: (self._folder / name).read_text("utf-8") for name in _PAGES}
            paths = {path.name: path for path in (self._folder / "assets").iterdir() if path.is_file()}
        except OSError:
            # A build is writing. The next request for a page finds another stamp.
            return _Contents()
        return _Contents(stamp, pages, _assets(paths))


def board_documents() -> list[str]:
    """Return the texts of all GraphQL documents that the board runs; none if it was not built."""
    try:
        documents: dict[str, str] = json.loads((FOLDER / _BOARD_DOCUMENTS).read_text("utf-8"))
    except OSError:
        return []
    return list(documents.values())


def _assets(paths: Mapping[str, Path]) -> dict[str, Asset]:
    return {
        name: Asset(
            _MEDIA_TYPES[path.suffix],
            path,
            {encoding: paths[name + end] for encoding, end in _ENCODINGS.items() if name + end in paths},
        )
        for name, path in paths.items()
        if path.suffix in _MEDIA_TYPES
    }
