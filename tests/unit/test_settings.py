from __future__ import annotations

import pytest
from pydantic import ValidationError

from gql_api.settings import FaultSettings, Settings, SettingsError

_NAMES = ["MONGODB_URL", "MONGODB_HOST", "MONGODB_DATABASE", "CELERY_BROKER_URL", "REDIS_URL", "TASK_MODULES"]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _NAMES:
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_the_servers_usual_addresses() -> None:
    """Without any variable the settings point at a MongoDB and a Redis on this machine."""
    settings = Settings.load()
    assert settings.mongodb_url == "mongodb://localhost:27017"
    assert settings.celery_broker_url == settings.redis_url == "redis://localhost:6379/0"
    assert settings.task_modules == ("gql_api.worker.bundled",)


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting comes from the variable of its name."""
    monkeypatch.setenv("MONGODB_URL", "mongodb://db:1/?replicaSet=x")
    monkeypatch.setenv("REDIS_URL", "redis://events:2/3")
    monkeypatch.setenv("TASK_MODULES", "shop.tasks, jobs.tasks ,")
    settings = Settings.load()
    assert settings.mongodb_url == "mongodb://db:1/?replicaSet=x"
    assert settings.redis_url == "redis://events:2/3"
    assert settings.celery_broker_url == "redis://localhost:6379/0"
    assert settings.task_modules == ("shop.tasks", "jobs.tasks")


@pytest.mark.parametrize(
    ("host", "url"),
    [("db.internal", "mongodb://db.internal"), ("mongodb://u:p@db/", "mongodb://u:p@db/")],
)
def test_mongodb_host_is_an_alias(monkeypatch: pytest.MonkeyPatch, host: str, url: str) -> None:
    """MONGODB_HOST names the server as a host or as an address."""
    monkeypatch.setenv("MONGODB_HOST", host)
    assert Settings.load().mongodb_url == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MONGODB_URL", "http://db"),
        ("MONGODB_URL", "mongodb://db:99999"),
        ("MONGODB_URL", "mongodb://u:p@ss@db/"),
        ("MONGODB_URL", "mongodb://db/?tls=true&tlsCAFile=/no/such.pem"),
        ("MONGODB_DATABASE", "a.b"),
        ("CELERY_BROKER_URL", "amqp://broker"),
        ("CELERY_BROKER_URL", "redis://broker/first"),
        ("REDIS_URL", "events:6379"),
        ("REDIS_URL", "rediss://events?ssl_cert_reqs=maybe"),
        ("PROGRESS_INTERVAL_SECONDS", "soon"),
        ("WORKER_HEARTBEAT_SECONDS", "0"),
        ("METADATA_MAX_BYTES", "-1"),
        ("STOCK_RESULT_BACKEND", "rpc://"),
        ("ALLOWED_HOSTS", "localhost,api.example.com:443"),
        ("ALLOWED_HOSTS", "https://api.example.com"),
        ("ALLOWED_HOSTS", "api.*.com"),
        ("ALLOWED_HOSTS", "*.*"),
        ("ALLOWED_HOSTS", "::1"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "null"),
        ("ALLOWED_ORIGINS", "app.example.com"),
        ("ALLOWED_ORIGINS", "https://app.example.com/"),
        ("ALLOWED_ORIGINS", "https://*.example.com"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value that cannot work stops the process with the variable's name."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: ") as caught:
        Settings.load()
    assert "\n" not in str(caught.value)


def test_events_go_to_the_broker_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is in the spelling of redis-py, and a broker that is refused is the only error."""
    monkeypatch.setenv("CELERY_BROKER_URL", "rediss://broker/1?ssl_cert_reqs=CERT_NONE")
    assert Settings.load().redis_url == "rediss://broker/1?ssl_cert_reqs=none"
    monkeypatch.setenv("CELERY_BROKER_URL", "redis+socket:///run/redis.sock?virtual_host=1")
    assert Settings.load().redis_url == "unix:///run/redis.sock?db=1"
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://broker/first")
    with pytest.raises(SettingsError, match=r"^CELERY_BROKER_URL: the database has to be a number, not 'first'$"):
        Settings.load()


def test_hosts_and_origins_are_in_the_spelling_of_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in lower case and without default ports, and origins may have other schemes than http."""
    monkeypatch.setenv("ALLOWED_HOSTS", "API.example.com, *.Example.org,[::1]")
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://App.example.com:443, http://localhost:3000,chrome-extension://abc")
    settings = Settings.load()
    assert settings.allowed_hosts == ("api.example.com", "*.example.org", "[::1]")
    assert settings.allowed_origins == (
        "https://app.example.com", "http://localhost:3000", "chrome-extension://abc",
    )  # fmt: skip
    monkeypatch.setenv("ALLOWED_HOSTS", "*")
    assert Settings.load().allowed_hosts == ("*",)


def test_settings_do_not_change() -> None:
    """Nothing can reconfigure a running process by accident."""
    settings = Settings.load()
    with pytest.raises(ValidationError):
        settings.mongodb_database = "other"  # type: ignore[misc] # what is tested


def test_addresses_are_not_shown() -> None:
    """Addresses may carry passwords, so they are in no repr."""
    assert "secret" not in repr(Settings(mongodb_url="mongodb://u:secret@db", redis_url="redis://:secret@r"))


@pytest.mark.parametrize("name", ["MONGODB_URL", "CELERY_BROKER_URL", "REDIS_URL"])
@pytest.mark.parametrize("password", ["abc/SECRET", "12/SECRET/1", "12?SECRET", "12/SECRET?SECRET", "%ZZ/SECRET/"])
def test_a_password_is_in_no_error(monkeypatch: pytest.MonkeyPatch, name: str, password: str) -> None:
    """An error says what is wrong with an address without any part of it that may be the password's."""
    url = f"{'mongodb' if name == 'MONGODB_URL' else 'redis'}://u:{password}=@host:6379/a.b?x=y"
    monkeypatch.setenv(name, url)
    with pytest.raises(SettingsError, match=r"percent-encode|escaped") as caught:
        Settings.load()
    assert "SECRET" not in str(caught.value)
    with pytest.raises(ValidationError, match=rf"(?i){name}") as invalid:
        Settings()
    assert "SECRET" not in str(invalid.value)


@pytest.mark.parametrize(("tests", "fails"), [("1", True), ("0", False), (None, False)])
def test_fail_points_are_for_tests_only(monkeypatch: pytest.MonkeyPatch, tests: str | None, fails: bool) -> None:
    """A process dies on purpose only where a second variable says that this is a test."""
    monkeypatch.setenv("FAIL_POINT", "created")
    monkeypatch.delenv("GQL_API_TESTS", raising=False)
    if tests is not None:
        monkeypatch.setenv("GQL_API_TESTS", tests)
    assert FaultSettings().fails_at("created") is fails
    assert not FaultSettings().fails_at("published")


@pytest.mark.parametrize(
    ("broker", "events", "is_same"),
    [
        ("redis://localhost:6379/0", "", True),
        ("redis://localhost:6379/0", "redis://localhost:6379/0", True),
        ("redis://localhost:6379/0", "redis://localhost:6379/1", False),
        ("redis://localhost:6379/0", "redis://other:6379/0", False),
        ("redis+socket:///run/redis.sock", "", True),
    ],
)
def test_events_are_in_the_broker_by_default(
    monkeypatch: pytest.MonkeyPatch, broker: str, events: str, *, is_same: bool
) -> None:
    """Another address is another Redis, and another database is one too."""
    monkeypatch.setenv("CELERY_BROKER_URL", broker)
    monkeypatch.setenv("REDIS_URL", events)
    assert Settings.load().has_events_in_broker is is_same
