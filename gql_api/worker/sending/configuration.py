"""The configuration of an adopted application: the settings that it must have, and its own that cannot work."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.app.utils import Settings as CelerySettings
from celery.exceptions import ImproperlyConfigured
from kombu.compression import encoders, get_encoder
from kombu.serialization import registry
from kombu.transport import TRANSPORT_ALIASES

from gql_api.addresses import broker_address
from gql_api.dispatch import JSON_ONLY, PRIORITY_STEPS

if TYPE_CHECKING:
    from celery import Celery
    from kombu.connection import Connection

logger = logging.getLogger(__name__)

_JSON = "application/json"
_SERIALIZERS = ("task_serializer", "result_serializer")
_BROKERS = ("redis", "rediss")
_INSTEAD = {"sentinel": ", for instance that of a proxy that asks Sentinel for the primary"}
_URLS = ("broker_read_url", "broker_write_url")
# An adopted application may have these, whatever else it says, and nothing changes for its users.
_SILENT = frozenset({"task_track_started"})

# A connection to the broker can become half-open, when a firewall forgets it for example: nothing answers, and nothing
# closes it. Without these, a worker waits for ever: while it polls for messages, or where a function sends a task.
_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 3.0,
    "socket_timeout": 3.0,
    "socket_keepalive": True,
    # kombu drops a connection whose BRPOP has no reply after 1 + 5 s, and checks that every 5 s.
    "health_check_interval": 5,
}

_REQUIRED: dict[str, Any] = {
    "result_backend": "gql_api.worker.backend.backend:Backend",
    **JSON_ONLY,
    # A message is acknowledged after its task, so that the broker delivers it again when this worker is lost.
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    # The claim stores the start.
    "task_track_started": False,
    # The worker waits for a broker that is away, however long.
    "broker_connection_max_retries": None,
    # While MongoDB is away, a worker keeps its outcomes, and stores them when MongoDB is back.
    "result_backend_always_retry": True,
    "result_backend_max_sleep_between_retries_ms": 2000,
    "result_backend_thread_safe": True,
}


class Configuration:
    """The settings that an application has been given, which it keeps whenever Celery reads its configuration again.

    Raises:
        ImproperlyConfigured: a setting of the application cannot work. Those that are not known yet are checked when
            the application connects to its broker.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._warned: set[str] = set()
        app.on_after_configure.connect(self._apply, weak=False)
        # Settings may be changed after they were read.
        app.on_after_finalize.connect(self._apply_again, weak=False)
        if app.configured:
            check(app.conf)
            self._apply()
        else:
            check(CelerySettings({}, [app._preconf]))  # noqa: SLF001 - to read the settings now would be too early

    def _apply(self, **_: Any) -> None:
        """Set the required settings, and log each that the application had set to another value."""
        conf = self._app.conf
        for name, value in _REQUIRED.items():
            if conf.value_set_for(name) and not _agree(conf.get(name), value):
                if name in _SERIALIZERS:
                    continue  # refused when the application connects
                self._warn(name, "adopt replaces the %s of the application by %s", name, _shown(name))
            conf[name] = value
        if conf.result_backend != _REQUIRED["result_backend"]:
            # A variable in the environment takes precedence over the setting, but our backend over both.
            self._warn("result_backend", "adopt replaces CELERY_RESULT_BACKEND by %s", _shown("result_backend"))
        if conf.value_set_for("result_expires"):
            self._warn("result_expires", "adopt: RETENTION_DAYS decides how long tasks are kept, not result_expires")
        conf["broker_transport_options"] = {**_TRANSPORT_OPTIONS, **conf.broker_transport_options, **PRIORITY_STEPS}

    def _apply_again(self, **_: Any) -> None:
        if self._app.configured:
            self._apply()

    def _warn(self, name: str, message: str, *values: object) -> None:
        if name not in self._warned | _SILENT:
            self._warned.add(name)
            logger.warning(message, *values)


class CheckConfiguration(bootsteps.StartStopStep):
    """A bootstep that keeps a worker from starting with settings, or with tasks, that cannot work."""

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        check(parent.app.conf)
        for task in parent.app.tasks.values():
            if problem := encoding_problem(task.serializer, getattr(task, "compression", None)):
                raise ImproperlyConfigured(f"task {task.name}: {problem}")


def check(conf: CelerySettings) -> None:
    """Check the settings of an adopted application, as far as they are known.

    Raises:
        ImproperlyConfigured: one cannot work.
    """
    for name in _SERIALIZERS:
        if problem := encoding_problem(conf.get(name)):
            raise ImproperlyConfigured(f"{name}: {problem}")
    if problem := encoding_problem(None, conf.get("task_compression")):
        raise ImproperlyConfigured(f"task_compression: {problem}")
    if not conf.get("task_always_eager"):
        for name in _URLS:
            _check_urls(getattr(conf, name))


def check_connection(connection: Connection) -> None:
    """Check a connection to the broker of an adopted application before it is opened.

    Raises:
        ImproperlyConfigured: it does not lead to one Redis.
    """
    _check_broker([str(connection.transport_cls)], len(connection.alt))


def encoding_problem(serializer: str | None, compression: str | None = None) -> str:
    """Return why messages of a setting, a task or a call cannot be encoded; empty if they can."""
    if serializer is not None and registry.name_to_type.get(serializer) != _JSON:
        return f'an adopted application sends JSON only: remove serializer="{serializer}", or set it to "json"'
    try:
        if compression:
            get_encoder(compression)  # type: ignore[no-untyped-call] # kombu
    except KeyError:
        installed: list[str] = encoders()  # type: ignore[no-untyped-call] # kombu
        known = ", ".join(encoder.removeprefix("application/x-") for encoder in installed)
        return f'compression="{compression}" is not installed here: use one of {known}'
    return ""


def _check_urls(setting: str | Sequence[str] | None) -> None:
    urls = setting.split(";") if isinstance(setting, str) else list(setting or ())
    # Without a scheme it is the name of a host. Its transport is known when the application connects.
    with_scheme = [url for url in urls if "://" in url]
    _check_broker([url.partition("://")[0].partition("+")[0] for url in with_scheme], len(urls))
    for url in with_scheme:
        try:
            broker_address(url)
        except ValueError as error:
            raise ImproperlyConfigured(f"broker_url (or CELERY_BROKER_URL): {error}") from None


def _check_broker(transports: Iterable[str], addresses: int) -> None:
    for transport in transports:
        if transport not in _BROKERS:
            # Another name may be a part of a password, which a ; or a missing scheme has cut out of an address.
            shown = f", not {transport}" if transport in TRANSPORT_ALIASES else ""
            raise ImproperlyConfigured(
                f"the broker of an adopted application has to be Redis{shown}: "
                "set broker_url (or CELERY_BROKER_URL) to an address like redis://host:6379/0"
                f"{_INSTEAD.get(transport, '')}"
            )
    if addresses > 1:
        raise ImproperlyConfigured(
            f"the broker of an adopted application has to be one Redis: {addresses} addresses given in broker_url, "
            "give that of a proxy that follows the primary"
        )


def _shown(name: str) -> str:
    return "the records of the tasks" if name == "result_backend" else repr(_REQUIRED[name])


def _agree(own: Any, required: Any) -> bool:
    if required == ["json"]:
        return bool(own) and not {own} - {"json", _JSON} if isinstance(own, str) else {*own} <= {"json", _JSON}
    return bool(own == required)
