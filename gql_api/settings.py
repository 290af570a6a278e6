"""All settings of the API and of workers, read from the environment, validated and frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from gql_api.addresses import (
    broker_address,
    events_address,
    events_address_of,
    events_address_of_url,
    host_name,
    mongodb_address,
    origin,
    stock_address,
)
from gql_api.configuration.access import AccessSettings
from gql_api.configuration.names import Names
from gql_api.limits import LimitSettings

if TYPE_CHECKING:
    from kombu.connection import Connection


class SettingsError(Exception):
    """Raised for invalid settings. The message names each variable."""


def _with_scheme(url: str) -> str:
    # Many deployments set MONGODB_HOST to a bare host name, such as db.internal.
    return url if "://" in url else f"mongodb://{url}"


def _stock_result_backend(address: str) -> str:
    if address.partition(":")[0] == "rpc":
        raise ValueError("results of rpc:// reach their sender only, use another result backend or disabled")
    return stock_address(address)


def _hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_host_pattern(host) for host in hosts)


def _host_pattern(pattern: str) -> str:
    wildcard = "*." if pattern.startswith("*.") else ""
    name = pattern.removeprefix(wildcard).lower()
    try:
        is_name = pattern == "*" or host_name(name) == name
    except ValueError:
        is_name = False
    if not is_name:
        raise ValueError(f"expected names without a port, like api.example.com, *.example.com or *, not {pattern!r}")
    return wildcard + name


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    if "*" in origins:
        raise ValueError("name each origin, like https://app.example.com: * would let every web page use the API")
    return tuple(origin(each) for each in origins)


MongodbUrl = Annotated[str, BeforeValidator(_with_scheme), AfterValidator(mongodb_address)]
StockResultBackend = Annotated[str, AfterValidator(_stock_result_backend)]
BrokerUrl = Annotated[str, AfterValidator(broker_address)]
Hosts = Annotated[Names, AfterValidator(_hosts)]
Origins = Annotated[Names, AfterValidator(_origins)]


class Settings(AccessSettings, LimitSettings):
    """The settings of a deployment. Each field is read from the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True, hide_input_in_errors=True
    )

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
    redis_url: str = Field(
        default="",
        validate_default=True,
        repr=False,
        description="The address of the Redis that carries the events of live updates.",
    )
    task_modules: Names = Field(
        default=("gql_api.worker.bundled",),
        description="The modules with your task functions, separated by commas. Only workers import them.",
    )
    allowed_hosts: Hosts = Field(
        default=("localhost", "127.0.0.1", "[::1]"),
        description=(
            "The names, without ports, by which clients reach the API, separated by commas. `*.example.com` is every "
            "name below `example.com`, `*` every name. A request for another host gets a 400."
        ),
    )
    allowed_origins: Origins = Field(
        default=(),
        description=(
            "The origins of web pages that may use the API besides pages of its own origin, like "
            "`https://app.example.com`, separated by commas. Requests and WebSockets from other origins get a 403."
        ),
    )
    production: bool = Field(
        default=False,
        description=(
            "Turns off the playground, introspection, suggestions in error messages and queries by GET. "
            "`gql-api serve` turns it on by itself unless it listens on loopback."
        ),
    )
    dashboard: bool = Field(
        default=True,
        description="Serves the task board at `/`, in production too. `off` removes it.",
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
    stock_result_backend: StockResultBackend = Field(
        default="none",
        repr=False,
        description=(
            "Set while stock Celery processes share the queues of an application that is being adopted: the address "
            "of their result backend, or `disabled` if they store no results."
        ),
    )
    store_timeout_seconds: float = Field(
        default=5.0,
        gt=0.0,
        le=600.0,
        description="How long the API or a sender of tasks waits for MongoDB or Redis before it returns an error.",
    )
    query_timeout_seconds: float = Field(
        default=10.0,
        gt=0.0,
        le=600.0,
        description="How long a list, a count or a facet may take before the API returns an error.",
    )
    idempotency_key_seconds: float = Field(
        default=86400.0,
        gt=0.0,
        le=366 * 86400.0,
        description="How long an idempotency key refers to the task that was created with it.",
    )
    retention_days: float = Field(
        default=30.0,
        ge=0.0,
        le=36500.0,
        description="How many days after their end finished tasks are deleted. 0 keeps them forever.",
    )
    statistics_retention_days: float = Field(
        default=30.0,
        ge=0.0,
        le=36500.0,
        description="How many days the numbers of `taskStats` are kept, also of deleted tasks. 0 keeps them forever.",
    )

    @field_validator("redis_url")
    @classmethod
    def _default_to_broker(cls, url: str, info: ValidationInfo) -> str:
        if url:
            return events_address(url)
        # The broker's address is missing here if it is refused itself.
        broker = info.data.get("celery_broker_url")
        return "" if broker is None else events_address_of_url(broker)

    @property
    def shares_queues(self) -> bool:
        """True while stock Celery processes send to the queues of the application, and take messages from them."""
        return self.stock_result_backend != "none"

    def for_broker(self, connection: Connection) -> Self:
        """Return the settings of an application with a broker of its own, which carries its events by default.

        Raises:
            ValueError: redis-py cannot use the broker's address.
        """
        if "redis_url" in self.model_fields_set:
            return self
        return self.model_copy(update={"redis_url": events_address_of(connection)})

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

    @classmethod
    def load_or_exit(cls) -> Self:
        """Read the settings, or end the process with one line: for modules that the commands of others import."""
        try:
            return cls.load()
        except SettingsError as error:
            raise SystemExit(f"Error: {error}") from None


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
    problems = error.errors(include_input=False)
    return "; ".join(f"{_variable(each['loc'])}{each['msg'].removeprefix('Value error, ')}" for each in problems)


def _variable(location: tuple[int | str, ...]) -> str:
    # An error about several settings has no location; its message names them.
    return f"{str(location[0]).upper()}: " if location else ""
