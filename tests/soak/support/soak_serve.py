"""`gql-api serve` that writes its memory in use to the file in MEMORY_FILE, on SIGUSR1.

Resident memory shows a leak only after it has filled all memory that the process once needed.
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
    """The result of glibc's mallinfo2."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS.split())


def _write_memory(_signal: int, _frame: FrameType | None) -> None:
    """Write the number of small blocks of Python's allocator, and the bytes of the C library's."""
    gc.collect()
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    info = mallinfo()
    path = Path(os.environ["MEMORY_FILE"])
    complete = path.with_suffix(".new")
    complete.write_text(f"{sys.getallocatedblocks()} {info.uordblks + info.hblkhd}")
    complete.replace(path)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _write_memory)
    main()
