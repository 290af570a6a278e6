"""Random faults under load: whatever happens, each promise of docs/reliability.md holds."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from chaos_plan import Options
from chaos_run import Chaos, new_seed


@pytest.fixture
def options(pytestconfig: pytest.Config) -> Options:
    """Return the options of the command line."""
    kinds = str(pytestconfig.getoption("--chaos-kinds"))
    seed = pytestconfig.getoption("--chaos-seed")
    return Options(
        faults=pytestconfig.getoption("--chaos-faults"),
        seed=new_seed() if seed is None else seed,
        members=pytestconfig.getoption("--chaos-members"),
        defaults=pytestconfig.getoption("--chaos-defaults"),
        kinds=frozenset(kind for kind in kinds.split(",") if kind),
    )


@pytest.mark.chaos
async def test_random_faults_break_no_promise(options: Options) -> None:
    """Tasks of every kind run under random faults, and all evidence agrees with what clients were promised."""
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-seed-{options.seed}-"))
    print(f"\n{options}; evidence: {folder}")
    result = await Chaos(options, folder, lambda line: print(line, flush=True)).run()
    print(result)
    if result.violations:
        pytest.fail(f"seed {options.seed}: {', '.join(result.violations)}; evidence: {folder}", pytrace=False)
    shutil.rmtree(folder)
