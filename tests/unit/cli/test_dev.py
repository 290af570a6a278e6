from __future__ import annotations

import datetime as dt
import io
import threading
import time

from honcho.printer import Message

from gql_api.cli.dev import _Printer


class _Unbuffered(io.StringIO):
    """A text that lets other threads run after every write, as an unbuffered standard output does."""

    def write(self, text: str) -> int:
        written = super().write(text)
        time.sleep(0.0001)
        return written


def test_lines_of_two_threads_do_not_run_into_each_other() -> None:
    """The lines of honcho and the line of a ready stack are printed whole."""
    output = _Unbuffered()
    printer = _Printer(output)

    def print_lines(name: str) -> None:
        for _ in range(50):
            printer.write(Message("line", "words", dt.datetime.now(dt.UTC), name, None))

    threads = [threading.Thread(target=print_lines, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = [line.partition(" ")[2] for line in output.getvalue().splitlines()]
    assert sorted(lines) == ["one | words"] * 50 + ["two | words"] * 50
