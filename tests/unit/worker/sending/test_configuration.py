"""The settings that an adopted application has, and those of its own that are refused or replaced."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from gql_api.adopt import adopt
from gql_api.worker.state.process import is_worker

_REDIS = "redis://broker:6390/1"
_REFUSED = [
    ("amqp://guest@broker//", "Redis, not amqp"),
    ("memory://", "Redis, not memory"),
    ("sqs://", "Redis, not sqs"),
    ("sqla+postgresql://db/broker", "Redis, not sqla"),
    ("sentinel://a:26379;sentinel://b:26379", "proxy that asks Sentinel"),
    ("redis://a;redis://b", "one Redis: 2 addresses"),
    (["redis://a", "redis://b"], "one Redis: 2 addresses"),
    ("redis://a;amqp://b", "Redis, not amqp"),
    ("redis://a/first", "the database has to be a number"),
    ("rediss://a?ssl_cert_reqs=maybe", "required, optional or none"),
]


def _app(**options: Any) -> Celery:
    return Celery("shop", set_as_current=False, **options)


def _nothing() -> None:
    pass


@pytest.mark.parametrize("setting", ["broker_url", "broker_read_url", "broker_write_url"])
@pytest.mark.parametrize(("url", "why"), _REFUSED, ids=str)
def test_a_broker_that_is_not_one_redis_is_refused(setting: str, url: str, why: str) -> None:
    """It is refused by adopt when it is known, and otherwise when the application connects, in one line."""
    early, late = _app(broker=_REDIS), adopt(_app(broker=_REDIS))
    early.conf.update({setting: url})
    late.conf.update({setting: url})
    for refuse in (lambda: adopt(early), late.connection_for_write, late.connection_for_read):
        with pytest.raises(ImproperlyConfigured, match=why) as caught:
            refuse()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://:12/SECRET@broker", "redis://:12;SECRET://@broker", "u:SECRET://@broker", "redis://:12?SECRET=1@b"]
)
def test_a_password_is_in_no_error(url: str) -> None:
    """A special character makes a database, an option or another address of the rest of the password."""
    with pytest.raises(ImproperlyConfigured, match=r"Redis|percent-encode") as caught:
        adopt(_app(broker=url))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("variable", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
def test_a_broker_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Celery's variables take precedence over the settings."""
    monkeypatch.setenv(variable, "amqp://broker")
    with pytest.raises(ImproperlyConfigured, match="Redis, not amqp"):
        adopt(_app(broker=_REDIS))


@pytest.mark.parametrize("namespace", [None, "CELERY"])
@pytest.mark.parametrize("first", [True, False])
def test_a_broker_in_a_configuration_object_is_refused(namespace: str | None, first: bool) -> None:
    """Celery reads the object at its first use, whether it was named before adopt or after it."""
    settings = {"CELERY_BROKER_URL" if namespace else "broker_url": "amqp://broker"}
    app = _app()
    if first:
        app.config_from_object(settings, namespace=namespace)
        adopt(app)
    else:
        adopt(app).config_from_object(settings, namespace=namespace)
    with pytest.raises(ImproperlyConfigured, match="Redis, not amqp"):
        app.send_task("shop.price")


@pytest.mark.parametrize("settings", [{}, {"broker_url": "broker"}, {"broker_transport": "memory"}], ids=str)
def test_a_broker_without_a_scheme_is_refused(settings: dict[str, str]) -> None:
    """Celery's default is RabbitMQ."""
    app = adopt(_app())
    app.conf.update(settings)
    with pytest.raises(ImproperlyConfigured, match="has to be Redis"):
        app.send_task("shop.price")


def test_an_application_that_runs_its_tasks_by_itself_needs_no_broker() -> None:
    """Tests of an application use task_always_eager."""
    app = adopt(_app(broker="memory://", task_always_eager=True))

    @app.task(shared=False)  # type: ignore[untyped-decorator] # Celery has no types
    def add(x: int, y: int) -> int:
        return x + y

    assert add.delay(1, 2).get() == 3


_OTHERWISE = {
    "result_backend": "redis://results",
    "task_acks_late": False,
    "task_reject_on_worker_lost": False,
    "worker_prefetch_multiplier": 4,
    "accept_content": ["json", "pickle"],
    "result_backend_thread_safe": False,
    "broker_connection_max_retries": 3,
}


def _messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    # A thread that an earlier test left may log too.
    name = "gql_api.worker.sending.configuration"
    return sorted(record.getMessage() for record in caplog.records if record.name == name)


@pytest.mark.parametrize("when", ["before", "object", "after", "loaded", "reloaded"])
def test_settings_that_adopt_replaces_are_logged_once(caplog: pytest.LogCaptureFixture, when: str) -> None:
    """Whenever the application sets them, the required ones hold, and a line for each says so."""
    app = _app(broker=_REDIS)
    if when == "before":
        app.conf.update(_OTHERWISE)
    elif when == "object":
        app.config_from_object(_OTHERWISE)
    elif when == "loaded":
        assert app.conf.enable_utc
        app.conf.update(_OTHERWISE)
    with caplog.at_level(logging.WARNING):
        adopt(app)
        if when == "after":
            app.conf.update(_OTHERWISE)
        elif when == "reloaded":
            assert app.conf.enable_utc
            app.config_from_object(_OTHERWISE)
        assert app.conf.enable_utc
        app.finalize()
    assert app.conf.task_acks_late
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.accept_content == ["json"]
    assert app.conf.broker_transport_options["priority_steps"] == list(range(10))
    expected = [f"adopt replaces the {name} of the application by" for name in sorted(_OTHERWISE)]
    assert [message[: len(start)] for message, start in zip(_messages(caplog), expected, strict=True)] == expected
    assert not [message for message in _messages(caplog) if "redis://" in message]


def test_a_setting_that_changes_after_it_was_read_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """Modules of an application set some settings after they have read others."""
    app = adopt(_app(broker=_REDIS))
    assert app.conf.enable_utc
    app.conf.task_acks_late = False
    with caplog.at_level(logging.WARNING):
        app.finalize()
    assert app.conf.task_acks_late
    assert _messages(caplog) == ["adopt replaces the task_acks_late of the application by True"]


def test_settings_that_agree_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nor is a start that the application wants to be stored: it is stored always."""
    own = {"task_acks_late": True, "accept_content": ["application/json"], "task_track_started": True}
    with caplog.at_level(logging.WARNING):
        app = adopt(_app(broker=_REDIS, **own))
        assert app.conf.enable_utc
    assert _messages(caplog) == []


@pytest.mark.parametrize("expires", [3600, None])
def test_a_time_after_which_results_expire_is_logged(caplog: pytest.LogCaptureFixture, expires: int | None) -> None:
    """The records of all applications of a database are kept for the same time."""
    with caplog.at_level(logging.WARNING):
        app = adopt(_app(broker=_REDIS))
        app.config_from_object({"result_expires": expires})
        assert app.conf.enable_utc
        app.finalize()
    assert _messages(caplog) == ["adopt: RETENTION_DAYS decides how long tasks are kept, not result_expires"]
    assert app.conf.result_expires == expires


def test_a_result_backend_in_the_environment_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Celery's variable takes precedence over the setting, and our backend over both."""
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://results")
    with caplog.at_level(logging.WARNING):
        app = adopt(_app(broker=_REDIS))
        assert app.conf.enable_utc
    assert _messages(caplog) == ["adopt replaces CELERY_RESULT_BACKEND by the records of the tasks"]


@pytest.mark.parametrize("own", [{}, {"CELERY_BROKER_TRANSPORT_OPTIONS": {"socket_timeout": 30}}], ids=str)
def test_options_in_a_namespace_are_kept(own: dict[str, Any]) -> None:
    """Settings of Django have a prefix."""
    app = adopt(_app())
    app.config_from_object({"CELERY_BROKER_URL": _REDIS, **own}, namespace="CELERY")
    connection = app.connection_for_write()
    assert connection.transport_options["socket_timeout"] == (30 if own else 3.0)
    assert connection.transport_options["priority_steps"] == list(range(10))


@pytest.mark.parametrize("name", ["task_serializer", "result_serializer"])
@pytest.mark.parametrize("serializer", ["pickle", "yaml", "msgpack", "unknown"])
def test_a_serializer_that_does_not_make_json_is_refused(name: str, serializer: str) -> None:
    """It is refused by adopt when it is known, and otherwise when the application connects."""
    with pytest.raises(ImproperlyConfigured, match=rf'^{name}: .*remove serializer="{serializer}"'):
        adopt(_app(broker=_REDIS, **{name: serializer}))
    app = adopt(_app(broker=_REDIS))
    app.config_from_object({name: serializer})
    with pytest.raises(ImproperlyConfigured, match=rf'^{name}: .*remove serializer="{serializer}"'):
        app.connection_for_read()


def test_a_compression_that_is_not_installed_is_refused() -> None:
    """The message names those that are."""
    with pytest.raises(ImproperlyConfigured, match=r"^task_compression: .*use one of gzip, bz2"):
        adopt(_app(broker=_REDIS, task_compression="brotli"))
    assert adopt(_app(broker=_REDIS, task_compression="gzip")).conf.task_compression == "gzip"


@pytest.mark.parametrize(("option", "value"), [("serializer", "yaml"), ("compression", "brotli")])
def test_a_worker_with_a_task_that_cannot_be_encoded_does_not_start(option: str, value: str) -> None:
    """The task is named, and this process is not a worker."""
    app = adopt(_app(broker=_REDIS))
    app.task(name="shop.price", shared=False, **{option: value})(_nothing)
    with pytest.raises(ImproperlyConfigured, match=rf'^task shop.price: .*{option}="{value}"'):
        app.WorkController(pool="solo")
    assert not is_worker()
