"""The settings, all of them: read once from the environment, checked, then frozen."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class SettingsError(Exception):
    """A setting has a value that cannot work. The message names the variable."""


def _with_scheme(url: str) -> str:
    """``MONGODB_HOST=db.internal`` is how many deployments already name their server."""
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
    """What a deployment can choose. Each field is read from the variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True)

    mongodb_url: MongodbUrl = Field(
        default="mongodb://localhost:27017",
        validation_alias=AliasChoices("MONGODB_URL", "MONGODB_HOST"),
        repr=False,
        description="MongoDB, where the task records are. `MONGODB_HOST` is another name for it.",
    )
    mongodb_database: str = Field(
        default="gql_api",
        pattern=r'^[^/\\. "$*<>:|?]{1,63}$',
        description="The database that holds our collections.",
    )
    celery_broker_url: BrokerUrl = Field(
        default="redis://localhost:6379/0",
        repr=False,
        description="Redis, Celery's broker.",
    )
    redis_url: RedisUrl = Field(
        default="",
        validate_default=False,
        repr=False,
        description="Redis, for the events behind live updates. The broker's unless set.",
    )
    task_modules: Names = Field(
        default=("gql_api.worker.bundled",),
        description="Comma-separated modules with your task functions, imported by workers only.",
    )
    progress_interval_seconds: float = Field(
        default=0.2,
        ge=0.0,
        le=60.0,
        description="The least time between two stored progress reports of one task.",
    )
    worker_heartbeat_seconds: float = Field(
        default=5.0,
        gt=0.0,
        le=3600.0,
        description="How often a worker says that it is alive; three missed beats count as gone.",
    )
    lease_seconds: float = Field(
        default=10.0,
        ge=0.5,
        le=3600.0,
        description="How long a started task is its worker's without a sign of life; then it runs again elsewhere.",
    )
    recovery_interval_seconds: float = Field(
        default=2.0,
        gt=0.0,
        le=600.0,
        description="How often each worker looks for tasks that are due, were lost or have expired.",
    )
    max_lost_attempts: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="After so many attempts that took their worker down, a task fails with `WorkerLostError`.",
    )
    store_timeout_seconds: float = Field(
        default=5.0,
        gt=0.0,
        le=600.0,
        description="How long the API waits for MongoDB or Redis before it answers with an error.",
    )
    query_timeout_seconds: float = Field(
        default=10.0,
        gt=0.0,
        le=600.0,
        description="How long a list, a count or a facet may take before it is ended with an error.",
    )
    metadata_max_bytes: int = Field(
        default=64 * 1024,
        gt=0,
        le=8 * 1024 * 1024,
        description="The largest metadata object of a task, as JSON in UTF-8.",
    )
    idempotency_key_seconds: float = Field(
        default=86400.0,
        gt=0.0,
        le=366 * 86400.0,
        description="How long an idempotency key stands for the task that was created with it.",
    )
    retention_days: float = Field(
        default=0.0,
        ge=0.0,
        le=36500.0,
        description="Finished tasks are deleted so many days after their end; 0 keeps them for ever.",
    )
    arguments_max_bytes: int = Field(
        default=1024 * 1024,
        gt=0,
        le=6 * 1024 * 1024,
        description="The largest `args` and the largest `kwargs` of a task, as JSON in UTF-8.",
    )

    log_max_lines: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="How many lines of log a task keeps, over all its attempts.",
    )
    log_max_bytes: int = Field(
        default=1024 * 1024,
        ge=1,
        le=64 * 1024 * 1024,
        description="How much text a task's log keeps, in UTF-8, over all its attempts.",
    )

    def model_post_init(self, _context: Any, /) -> None:
        """Let the broker carry the events too, unless another Redis was named."""
        if not self.redis_url:
            object.__setattr__(self, "redis_url", self.celery_broker_url)

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            SettingsError: a value cannot work; the message names each such variable.
        """
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None


class FaultSettings(BaseSettings):
    """What the tests of faults can choose, and nobody else: no deployment's setting, so in no table of settings.

    ``FAIL_POINT`` names the instant at which the API is to die. It counts only beside ``GQL_API_TESTS=1``.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    gql_api_tests: bool = False
    fail_point: str | None = None

    def fails_at(self, point: str) -> bool:
        """Whether a test wants this process to die at an instant."""
        return self.gql_api_tests and self.fail_point == point


def _explain(error: ValidationError) -> str:
    lines = [f"{_variable(problem['loc'])}: {problem['msg']}" for problem in error.errors(include_input=False)]
    return "; ".join(lines)


def _variable(location: tuple[int | str, ...]) -> str:
    return str(location[0]).upper()
