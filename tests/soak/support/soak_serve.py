"""`gql-api serve` that tells what it holds: asked by SIGUSR1, it writes that into the file named by HELD.

What is resident tells of no leak before all room is filled that a process once needed. This is what is in use.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from gql_api.cli.main import main

_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Mallinfo(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS.split())


def _tell(_signal: int, _frame: FrameType | None) -> None:
    """Write two numbers: the blocks of Python's allocator, which are small, and the bytes of the C library's."""
    gc.collect()
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    info = mallinfo()
    held = Path(os.environ["HELD"])
    complete = held.with_suffix(".new")
    complete.write_text(f"{sys.getallocatedblocks()} {info.uordblks + info.hblkhd}")
    complete.replace(held)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    main()
