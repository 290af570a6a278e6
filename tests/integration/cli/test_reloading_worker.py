from __future__ import annotations

import sys
import threading
from pathlib import Path

from support import process

_PROGRAM = """
import sys
from pathlib import Path
from gql_api.cli.reloading_worker import ReloadingWorker
sys.exit(ReloadingWorker(["sleep", "1"], [Path.cwd()]).run())
"""


def test_other_files_that_change_all_the_time_delay_nothing(tmp_path: Path) -> None:
    """The end of the worker is noticed while a database writes into the folder of the code."""
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.02):
            (tmp_path / "journal").write_text("x")

    writing = threading.Thread(target=write)
    writing.start()
    try:
        with process([sys.executable, "-c", _PROGRAM], tmp_path / "log", cwd=tmp_path) as started:
            assert started.wait(15) == 0
    finally:
        stop.set()
        writing.join()
