"""The known security advisories of what we depend on: neither our floors nor our pins admit an affected version.

To add one, append a line with the first version without the fault, and raise the floor in pyproject.toml if the package
is a direct dependency.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support import ROOT

_ADVISORIES = [
    ("celery", "5.2.2", "CVE-2021-23727"),
    ("click", "8.3.3", "CVE-2026-7246"),
    ("dnspython", "2.6.1", "CVE-2023-29483"),
    ("h11", "0.16.0", "CVE-2025-43859"),
    ("idna", "3.7", "CVE-2024-3651"),
    ("orjson", "3.9.15", "CVE-2024-27454"),
    ("orjson", "3.11.6", "CVE-2025-67221"),
    ("pydantic", "2.4.0", "CVE-2024-3772"),
    ("pydantic-settings", "2.14.2", "GHSA-4xgf-cpjx-pc3j"),
    ("pymongo", "4.6.3", "CVE-2024-5629"),
    ("pymongo", "4.18.1", "CVE-2026-88029"),
    ("python-dotenv", "1.2.2", "CVE-2026-28684"),
    ("redis", "4.5.4", "CVE-2023-28859"),
    ("starlette", "0.40.0", "CVE-2024-47874"),
    ("starlette", "0.47.2", "CVE-2025-54121"),
    ("starlette", "0.49.1", "CVE-2025-62727"),
    ("starlette", "1.0.1", "CVE-2026-48710"),
    ("starlette", "1.3.1", "CVE-2026-48817"),
    ("starlette", "1.3.1", "CVE-2026-48818"),
    ("starlette", "1.3.1", "GHSA-82w8-qh3p-5jfq"),
    ("strawberry-graphql", "0.312.3", "CVE-2026-35523"),
    ("strawberry-graphql", "0.312.3", "CVE-2026-35526"),
    ("strawberry-graphql", "0.315.7", "CVE-2026-45739"),
    ("strawberry-graphql", "0.315.7", "CVE-2026-47706"),
    ("strawberry-graphql", "0.315.7", "CVE-2026-47707"),
    ("uvicorn", "0.11.7", "CVE-2020-7694"),
    ("websockets", "9.1", "CVE-2021-33880"),
    ("werkzeug", "3.0.6", "CVE-2024-49767"),
    ("werkzeug", "3.1.4", "CVE-2025-66221"),
    ("werkzeug", "3.1.5", "CVE-2026-21860"),
    ("werkzeug", "3.1.6", "CVE-2026-27199"),
]
_REQUIREMENTS = {
    canonicalize_name(each.name): each
    for each in map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
}
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", re.MULTILINE)


@pytest.mark.parametrize(("package", "fixed", "advisory"), _ADVISORIES)
def test_no_affected_version_is_admitted(package: str, fixed: str, advisory: str) -> None:
    """A direct dependency has a floor at the fix or above it; the pins of both locks and this environment have it."""
    requirement = _REQUIREMENTS.get(canonicalize_name(package))
    if requirement is not None:
        floors = [Version(each.version) for each in requirement.specifier if each.operator in (">=", "==")]
        assert floors, f"{package} has no floor"
        assert max(floors) >= Version(fixed), f"the floor of {package} admits {advisory}: raise it to {fixed}"
    assert Version(version(package)) >= Version(fixed), advisory
    for lock in ("requirements.txt", "requirements-dev.txt"):
        pins = [pin for name, pin in _PIN.findall((ROOT / lock).read_text()) if canonicalize_name(name) == package]
        assert all(Version(pin) >= Version(fixed) for pin in pins), f"{lock} pins a {package} with {advisory}"


def test_each_dependency_is_pinned_within_its_bounds() -> None:
    """A raised floor and the locks agree: `make lock` would not change a version because of it."""
    for lock in ("requirements.txt", "requirements-dev.txt"):
        pins = {canonicalize_name(name): pin for name, pin in _PIN.findall((ROOT / lock).read_text())}
        for name, requirement in _REQUIREMENTS.items():
            assert pins[name] in requirement.specifier, f"{lock}: {name}"
