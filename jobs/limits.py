"""Soft time limits are for the function: not for waiting to claim a task, nor for telling how it ended."""

from __future__ import annotations

import signal
import threading

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler


def shut() -> None:
    """Drop soft time limits from here on."""
    _change(soft_timeout_sighandler, signal.SIG_IGN)


def let_in() -> None:
    """Let a soft time limit interrupt what runs from here on."""
    _change(signal.SIG_IGN, soft_timeout_sighandler)


def _change(current: object, new: signal.Handlers | object) -> None:
    """Change the handler of a prefork child; nowhere else is there one, nor a soft limit.

    A blocked signal would stay pending and hit the next task; an ignored one is gone.
    """
    if SIG_SOFT_TIMEOUT is None or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(SIG_SOFT_TIMEOUT) is current:
        signal.signal(SIG_SOFT_TIMEOUT, new)  # type: ignore[arg-type] # billiard's handler has no types
