"""For a process under faketime, whose ``time.sleep`` fails: it passes an absolute time of the monotonic clock.

Python imports a module of this name when it starts.
"""

from __future__ import annotations

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex, /) -> None:
    select.select([], [], [], float(seconds))


time.sleep = _sleep
