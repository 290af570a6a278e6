"""The settings that bound what a client, a task or a record may take. docs/limits.md explains them."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class LimitSettings(BaseSettings):
    """The limits of a deployment: a part of its settings. Each field's name says its unit."""

    # Values of tasks.
    metadata_max_bytes: int = Field(
        default=64 * 1024,
        gt=0,
        le=8 * 1024 * 1024,
        description="The maximum size of a task's metadata, as JSON in UTF-8.",
    )
    arguments_max_bytes: int = Field(
        default=1024 * 1024,
        gt=0,
        le=6 * 1024 * 1024,
        description="The maximum size of a task's `args`, and also of its `kwargs`, as JSON in UTF-8.",
    )
    error_max_bytes: int = Field(
        default=32 * 1024,
        ge=1024,
        le=1024 * 1024,
        description="The size to which an error's message, its traceback and its arguments are cut, each, in UTF-8.",
    )
    progress_max_bytes: int = Field(
        default=64 * 1024,
        ge=1024,
        le=1024 * 1024,
        description="The size to which a progress report's message and its other values are cut, each, in UTF-8.",
    )
    answer_max_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1024 * 1024,
        le=1024 * 1024 * 1024,
        description="How many bytes of tasks and log lines one answer may select: of a query, of a mutation, or of one "
        "event of a subscription. A task counts as often as the answer has it; the task that a mutation returns or an "
        "event is about does not count. An answer that selects more is an error with the code `ANSWER_TOO_LARGE`.",
    )
    log_max_lines: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="The maximum number of log lines kept for a task, over all its attempts.",
    )
    log_max_bytes: int = Field(
        default=1024 * 1024,
        ge=1,
        le=64 * 1024 * 1024,
        description="The maximum size of the log text kept for a task, in UTF-8, over all its attempts.",
    )
    # Task functions.
    rejected_messages_max: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="How many messages that no worker can handle are kept in Redis for each queue; the newest ones.",
    )
    time_limit_min_seconds: float = Field(
        default=1.0,
        gt=0.0,
        le=86400.0,
        description="The shortest time limit that a client or a sender may give a task: each task that is ended costs "
        "the worker a process.",
    )
    time_limit_default_seconds: float = Field(
        default=0.0,
        ge=0.0,
        description="The time limit of tasks for which neither the sender nor the task function nor the worker has "
        "one; 0 for none.",
    )
    time_limit_max_seconds: float = Field(
        default=0.0,
        ge=0.0,
        description="The longest time limit of any task, and that of tasks without one; 0 for no maximum.",
    )
