from __future__ import annotations

import re

import pytest
from support import ROOT

from gql_api.configuration.access import AccessSettings
from gql_api.limits import LimitSettings
from gql_api.settings import Settings

_ROW = re.compile(r"^\| `(?P<name>[A-Z_]+)` \| (?P<default>[^|]+) \| (?P<text>[^|]+) \|$", re.MULTILINE)

_ELSEWHERE = {*AccessSettings.model_fields, *LimitSettings.model_fields}


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("README.md", [name for name in Settings.model_fields if name not in _ELSEWHERE]),
        ("docs/security.md", list(AccessSettings.model_fields)),
        ("docs/limits.md", list(LimitSettings.model_fields)),
    ],
)
def test_a_table_lists_every_setting(page: str, names: list[str]) -> None:
    """Names, defaults and descriptions in the tables are those of the settings classes, in their order."""
    rows = {row["name"]: (row["default"].strip(" `"), row["text"].strip()) for row in _ROW.finditer(_read(page))}
    assert list(rows) == [name.upper() for name in names]
    for name in names:
        field = Settings.model_fields[name]
        default = ",".join(field.default) if isinstance(field.default, tuple) else str(field.default)
        unset = {"redis_url": "the broker's"}.get(name, "none")
        assert rows[name.upper()] == (default or unset, field.description)


_MODULES = sorted(
    str(path.relative_to(ROOT))
    for folder in ("gql_api", "jobs")
    for path in ROOT.glob(f"{folder}/**/*.py")
    if path.name != "__init__.py"
)


@pytest.mark.parametrize("path", _MODULES)
def test_the_architecture_places_every_module(path: str) -> None:
    """Every module is on the map, in the row of its wing."""
    wing, _, name = path.removesuffix(".py").rpartition("/")
    (row,) = [line for line in _read("docs/architecture.md").splitlines() if line.startswith(f"| `{wing}/` |")]
    assert f"`{name}`" in row


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/adopt.md",
        "docs/board.md",
        "docs/clients.md",
        "docs/control.md",
        "docs/deploy.md",
        "docs/embedding.md",
        "docs/filters.md",
        "docs/performance.md",
        "docs/logs.md",
        "docs/monitoring.md",
        "docs/reliability.md",
        "docs/rest.md",
        "docs/upgrading.md",
        "docs/lifecycle.md",
        "docs/limits.md",
        "docs/security.md",
        "docs/statistics.md",
    ],
)
def test_links_lead_somewhere(path: str) -> None:
    """Relative links in the documents name files that exist."""
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", _read(path))
    assert [target for target in targets if not ((ROOT / path).parent / target).exists()] == []


def test_links_lead_to_headings() -> None:
    """A link to a part of a page names one of its headings, as GitHub makes anchors of them."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    anchors = {page: {_anchor(heading) for heading in _headings(page.read_text())} for page in pages}
    links = [(page, *link) for page in pages for link in re.findall(r"\]\(([\w./]*)#([^)]+)\)", page.read_text())]
    assert len(links) > 50
    assert [
        (page.name, target, anchor)
        for page, target, anchor in links
        if anchor not in anchors[(page.parent / target).resolve() if target else page]
    ] == []


def _headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_each_promise_names_a_test_that_exists() -> None:
    """The tests that the table of promises names are in the fault ring."""
    ring = "".join(path.read_text() for path in (ROOT / "tests" / "faults").glob("test_*.py"))
    rows = [line for line in _read("docs/reliability.md").splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for row in rows:
        names = re.findall(r"`(test_\w+)`", row.split("|")[4])
        assert names, row
        assert [name for name in names if f"def {name}(" not in ring] == []


def _read(path: str) -> str:
    return (ROOT / path).read_text()
