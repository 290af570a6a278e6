from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from gql_api.api.schema.build import schema
from gql_api.record import fields

# A worker subscripts the messages of Celery, which have fields of the same names.
_WINGS = ["aio", "api", "cli", "server", "telemetry"]

_QUESTION_WORD = re.compile(r"(What|Who|Whom|Whose|One who|One that|Those|How|Where|That|Whether)\b")


def _speaks_no_bson() -> list[Path]:
    paths = {path for wing in _WINGS for path in ROOT.glob(f"gql_api/{wing}/**/*.py")}
    return sorted({*paths, *ROOT.glob("gql_api/*.py")} - {ROOT / "gql_api/cli/dev.py", ROOT / "gql_api/adopt.py"})


def test_the_api_loads_no_worker_code_and_no_task_functions() -> None:
    """An API process never imports users' task modules, nor what only workers need."""
    code = "import gql_api.app, sys; print([name for name in sys.modules if name.startswith(('gql_api.', 'jobs'))])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=ROOT)
    loaded = set(ast.literal_eval(output.stdout))
    assert "gql_api.record.writes" in loaded
    assert not [
        name for name in loaded if name.startswith(("gql_api.worker", "gql_api.celery", "gql_api.adopt", "jobs"))
    ]


def test_imports_go_one_way() -> None:
    """The import contracts of pyproject.toml hold."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", sorted({path.parent for path in ROOT.glob("gql_api/**/*.py")}), ids=str)
def test_a_wing_is_small(folder: Path) -> None:
    """No folder has more than 12 modules beside its __init__."""
    assert (folder / "__init__.py").exists()
    assert len({*folder.glob("*.py")} - {folder / "__init__.py"}) <= 12


@pytest.mark.parametrize("path", sorted([*ROOT.glob("gql_api/**/*.py"), *ROOT.glob("jobs/**/*.py")]), ids=str)
def test_docstrings_name_their_subject(path: Path) -> None:
    """No docstring begins with a question word in place of a subject or a verb."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first_lines = [
        (ast.get_docstring(node) or "").partition("\n")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, kinds)
    ]
    assert not [line for line in first_lines if _QUESTION_WORD.match(line)]


def test_the_exported_schema_is_the_codes() -> None:
    """schema.graphql says what the code does; `make schema` exports it."""
    assert (ROOT / "schema.graphql").read_text() == schema.as_str() + "\n"


@pytest.mark.parametrize("path", sorted([*ROOT.glob("gql_api/**/*.py"), *ROOT.glob("jobs/**/*.py")]), ids=str)
def test_the_environment_is_read_in_one_place(path: Path) -> None:
    """Only the settings read the environment."""
    text = path.read_text().replace('os.environ["PROMETHEUS_MULTIPROC_DIR"] = ', "")
    reads = [word for word in ("os.environ", "os.getenv", "getenv(") if word in text]
    assert not reads


@pytest.mark.parametrize("path", sorted(_speaks_no_bson()), ids=str)
def test_the_api_spells_no_field_of_the_record(path: Path) -> None:
    """Field names of MongoDB stand in gql_api/record only: the API (dev.py is its client) subscripts no document."""
    graphqls_own = {"type", "data", "message", "tasks"}
    names = {value for name, value in vars(fields).items() if name.isupper() and isinstance(value, str)} - graphqls_own
    spelled = [
        node.slice.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value in names
    ]
    assert not spelled
