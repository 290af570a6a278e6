"""Task functions whose signatures a deployment changes: CHANGED_TASKS names the version that a process has."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from celery import shared_task


def _renamed_old(number: int) -> str:
    return f"old {number}"


def _renamed_new(count: int, *, unit: str) -> str:
    return f"new {count} {unit}"


def _retyped_old(number: int) -> str:
    return f"old {number + 1}"


def _retyped_new(number: list[int]) -> str:
    return f"new {sum(number)}"


def _widened_old(number: int) -> str:
    return f"either {number}"


def _widened_new(number: int, note: str = "") -> str:
    return f"either {number}{note}"


_IS_NEW = os.environ.get("CHANGED_TASKS") == "new"


def _task(name: str, old: Callable[..., str], new: Callable[..., str], **options: Any) -> Any:
    return shared_task(name=f"changed_tasks.{name}", **options)(new if _IS_NEW else old)


renamed = _task("renamed", _renamed_old, _renamed_new)
limited = _task("limited", _renamed_old, _renamed_new, rate_limit="20/s")
retyped = _task("retyped", _retyped_old, _retyped_new)
widened = _task("widened", _widened_old, _widened_new)
