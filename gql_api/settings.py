"""All settings of the API and of workers, read from the environment, validated and frozen."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class SettingsError(Exception):
    """Raised for invalid settings. The message names each variable."""


def _with_scheme(url: str) -> str:
    # Many deployments set MONGODB_HOST to a bare host name, such as db.internal.
    return url if "://" in url else f"mongodb://{url}"


def _mongodb_url(url: str) -> str:
    if not url.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("expected an address like mongodb://host:27017/?replicaSet=rs0")
    return url


def _redis_url(url: str) -> str:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("expected an address like redis://host:6379/0")
    return url


def _broker_url(url: str) -> str:
    if not url.startswith(("redis://", "rediss://")):
        raise ValueError("expected an address like redis://host:6379/0")
    return url


def _split(names: str | tuple[str, ...]) -> tuple[str, ...]:
    parts = names.split(",") if isinstance(names, str) else names
    return tuple(part.strip() for part in parts if part.strip())


MongodbUrl = Annotated[str, BeforeValidator(_with_scheme), AfterValidator(_mongodb_url)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
BrokerUrl = Annotated[str, AfterValidator(_broker_url)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """The settings of a deployment. Each field is read from the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True)

    mongodb_url: MongodbUrl = Field(
        default="mongodb://localhost:27017",
        validation_alias=AliasChoices("MONGODB_URL", "MONGODB_HOST"),
        repr=False,
        description="The address of MongoDB, which stores the task records. `MONGODB_HOST` is an alias.",
    )
    mongodb_database: str = Field(
        default="gql_api",
        pattern=r'^[^/\\. "$*<>:|?]{1,63}$',
        description="The MongoDB database that holds the collections.",
    )
    celery_broker_url: BrokerUrl = Field(
        default="redis://localhost:6379/0",
        repr=False,
        description="The address of the Redis that is Celery's broker.",
    )
    redis_url: RedisUrl = Field(
        default="",
        validate_default=False,
        repr=False,
        description="The address of the Redis that carries the events of live updates.",
    )
    task_modules: Names = Field(
        default=("gql_api.worker.bundled",),
        description="The modules with your task functions, separated by commas. Only workers import them.",
    )
    progress_interval_seconds: float = Field(
        default=0.2,
        ge=0.0,
        le=60.0,
        description="The minimum time between two stored progress reports of one task.",
    )
    worker_heartbeat_seconds: float = Field(
        default=5.0,
        gt=0.0,
        le=3600.0,
        description="The time between two heartbeats of a worker. Three missed heartbeats mean that it is gone.",
    )
    lease_seconds: float = Field(
        default=10.0,
        ge=0.5,
        le=3600.0,
        description="How long a task's lease lasts. If its worker stops extending it, the task runs again elsewhere.",
    )
    recovery_interval_seconds: float = Field(
        default=2.0,
        gt=0.0,
        le=600.0,
        description="The time between two scans of each worker for tasks that are due, lost or expired.",
    )
    max_lost_attempts: int = Field(
        default=3,
        ge=1,
        le=1000,
        description=(
            "After this many attempts whose process was lost while its worker lived on, "
            "a task fails with `WorkerLostError`."
        ),
    )
    max_lost_workers: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="After this many attempts that were lost with their whole worker, a task fails the same way.",
    )
    max_rejections: int = Field(
        default=20,
        ge=1,
        le=1000,
        description=(
            "After this many attempts that raised `Reject(requeue=True)`, a task fails with `Reject`. "
            "The pause before the next attempt doubles from 1 s to 60 s."
        ),
    )
    store_timeout_seconds: float = Field(
        default=5.0,
        gt=0.0,
        le=600.0,
        description="How long the API waits for MongoDB or Redis before it returns an error.",
    )
    query_timeout_seconds: float = Field(
        default=10.0,
        gt=0.0,
        le=600.0,
        description="How long a list, a count or a facet may take before the API returns an error.",
    )
    metadata_max_bytes: int = Field(
        default=64 * 1024,
        gt=0,
        le=8 * 1024 * 1024,
        description="The maximum size of a task's metadata, as JSON in UTF-8.",
    )
    idempotency_key_seconds: float = Field(
        default=86400.0,
        gt=0.0,
        le=366 * 86400.0,
        description="How long an idempotency key refers to the task that was created with it.",
    )
    retention_days: float = Field(
        default=0.0,
        ge=0.0,
        le=36500.0,
        description="How many days after their end finished tasks are deleted. 0 keeps them forever.",
    )
    arguments_max_bytes: int = Field(
        default=1024 * 1024,
        gt=0,
        le=6 * 1024 * 1024,
        description="The maximum size of a task's `args`, and also of its `kwargs`, as JSON in UTF-8.",
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

    def model_post_init(self, _context: Any, /) -> None:
        """Default ``redis_url`` to the broker's address."""
        if not self.redis_url:
            object.__setattr__(self, "redis_url", self.celery_broker_url)

    @classmethod
    def load(cls) -> Self:
        """Read the settings from the environment.

        Raises:
            SettingsError: a value is invalid. The message names each such variable.
        """
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None


class FaultSettings(BaseSettings):
    """Settings for the fault tests only. A deployment must not set them, and the README does not list them.

    ``FAIL_POINT`` names the point at which the API process kills itself. Without ``GQL_API_TESTS=1`` it has no effect.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    gql_api_tests: bool = False
    fail_point: str | None = None

    def fails_at(self, point: str) -> bool:
        """Return whether a test wants this process to kill itself at a point."""
        return self.gql_api_tests and self.fail_point == point


def _explain(error: ValidationError) -> str:
    lines = [f"{_variable(problem['loc'])}: {problem['msg']}" for problem in error.errors(include_input=False)]
    return "; ".join(lines)


def _variable(location: tuple[int | str, ...]) -> str:
    return str(location[0]).upper()
