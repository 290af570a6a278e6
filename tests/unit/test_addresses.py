"""The addresses of Redis that settings and applications give."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from celery import Celery
from click.testing import CliRunner
from kombu.connection import Connection
from redis import ConnectionPool

from gql_api.addresses import (
    broker_address,
    events_address,
    events_address_of,
    events_address_of_url,
    mongodb_address,
    stock_address,
)
from gql_api.cli.main import main
from gql_api.worker.backend.stock import StockBackend


@pytest.mark.parametrize("check", [broker_address, events_address])
@pytest.mark.parametrize("name", ["required", "optional", "none"])
def test_both_spellings_of_the_check_of_certificates_are_one(check: Callable[[str], str], name: str) -> None:
    """Celery's spelling becomes that of redis-py, which kombu understands too."""
    for spelling in (name, f"CERT_{name.upper()}"):
        url = check(f"rediss://:p%40x@redis:6390/2?ssl_cert_reqs={spelling}&ssl_check_hostname=false")
        assert url == f"rediss://:p%40x@redis:6390/2?ssl_cert_reqs={name}&ssl_check_hostname=false"


_NEVER = [
    ("redis.internal:6379", "redis://host"),
    ("amqp://broker", "redis://host"),
    ("redis://host:port/0", "port"),
    ("redis://host:66000", "port"),
    ("redis://:pa#ss@host/0", "percent-encode"),
    ("redis://:pa/ss@host/0", "percent-encode"),
    ("redis://host/0#1", "%23"),
    ("redis://host/first", "the database has to be a number, not 'first'"),
    ("redis://host?colour=red", "colour"),
    ("redis://host?ssl_cert_reqs=none", "rediss://"),
    ("rediss://host?ssl_cert_reqs=maybe", "required, optional or none, not 'maybe'"),
    ("rediss://host?ssl_ca_certs=/no/such.pem", "ssl_ca_certs: there is no file '/no/such.pem'"),
    ("rediss://host?ssl_ca_path=/no/such", "ssl_ca_path: there is no folder"),
    ("rediss://host?ssl_certfile=/no/such.pem", "ssl_certfile"),
    (f"rediss://host?ssl_ca_certs={__file__}", "certificates"),
]


@pytest.mark.parametrize("check", [broker_address, events_address])
@pytest.mark.parametrize(("url", "why"), _NEVER)
def test_an_address_that_can_never_work_is_refused(check: Callable[[str], str], url: str, why: str) -> None:
    """One line says what is wrong, without the password."""
    with pytest.raises(ValueError, match=why) as caught:
        check(url)
    assert "\n" not in str(caught.value)
    assert "pa" not in str(caught.value).split()


_CUT_OFF = [
    "redis://:12/SECRET@host:6379/0",
    "redis://u:12/SECRET/1@host",
    "redis://:12?SECRET=5@host:6379/0",
    "redis://:12?db=SECRET@host",
    "redis://:SECRET#SECRET@host",
    "rediss://:12?ssl_cert_reqs=none&SECRET=1@host",
    "rediss://:12?ssl_cert_reqs=SECRET@host",
    "rediss://:12?ssl_ca_certs=SECRET@host",
    "rediss://:12?ssl_ca_path=SECRET&@host",
    "redis://:12;SECRET/SECRET@host",
]


@pytest.mark.parametrize("check", [broker_address, events_address])
@pytest.mark.parametrize("url", _CUT_OFF)
def test_a_part_of_a_password_is_in_no_error(check: Callable[[str], str], url: str) -> None:
    """A special character makes a database or an option of the rest of the password."""
    with pytest.raises(ValueError, match="percent-encode") as caught:
        check(url)
    assert "SECRET" not in str(caught.value)


# In a password: what may end it, and what must not.
_SPECIAL = ["#", "?", "/", "@", "%", "%zz", ":", ";", "[", "]", "\\", " ", "&", "=", "##", "/?", "@/", "#@"]
_PASSWORDS = ["SECRET{}SECRET", "{}SECRET", "12{}SECRET", "12{}SECRET/1", "SECRET{}SECRET@"]
_BROKERS = ["redis", "rediss", "redis+socket"]
_EVENTS = ["redis", "rediss", "unix"]
_STOCK = ["redis", "rediss", "sentinel", "mongodb", "db+postgresql"]


def _addresses(scheme: str, character: str) -> list[str]:
    tails = ["host:6379/0", "host", "host/a?retryWrites=true", "/run/x.sock"]
    passwords = [password.format(character) for password in _PASSWORDS]
    return [f"{scheme}://{user}:{each}@{tail}" for user in ("", "u") for each in passwords for tail in tails]


@pytest.mark.parametrize("character", _SPECIAL)
def test_a_special_character_shows_no_part_of_a_password(character: str) -> None:
    """An address is refused without the password, or the libraries that use it find no fault with it later."""
    for scheme in _BROKERS:
        for url in _addresses(scheme, character):
            broker = _accepted(broker_address, url)
            if broker is not None:
                Connection(broker)  # type: ignore[no-untyped-call] # kombu
                assert "SECRET" not in (urlsplit(broker).path + urlsplit(broker).query)
    for scheme in _EVENTS:
        for url in _addresses(scheme, character):
            events = _accepted(events_address, url)
            if events is not None:
                options = ConnectionPool.from_url(events).connection_kwargs
                shown = {name: value for name, value in options.items() if name not in {"username", "password"}}
                assert "SECRET" not in repr(shown)
    for url in _addresses("mongodb", character):
        _accepted(mongodb_address, url)


def _accepted(check: Callable[[str], str], url: str) -> str | None:
    """Return an address that is not refused; the refusal must have no part of the password."""
    try:
        return check(url)
    except ValueError as error:
        shown = "".join(traceback.format_exception(error))
    assert "SECRET" not in shown, url
    return None


@pytest.mark.parametrize("character", _SPECIAL)
def test_a_special_character_shows_no_part_of_the_password_of_a_stock_backend(character: str) -> None:
    """What can be known without its driver is refused at the start, the rest when it connects, without the password."""
    app = Celery("stock", broker="memory://", set_as_current=False)

    def connect(url: str) -> str:
        StockBackend(app, url).read("x")
        return url

    for scheme in _STOCK:
        for url in _addresses(scheme, character):
            address = _accepted(stock_address, url)
            if address is not None and scheme in {"redis", "rediss"}:
                assert (urlsplit(address).hostname, urlsplit(address).port) in {
                    ("host", 6379),
                    ("host", None),
                    (None, None),
                }
    for url in (f"redis://:SECRET{character}SECRET/@host", f"mongodb://u:12{character}/SECRET/1@host"):
        if "/" in character or "#" in character:
            with pytest.raises(ValueError, match="percent-encode") as caught:
                connect(url)
            assert "SECRET" not in "".join(traceback.format_exception(caught.value))


def test_the_password_of_an_administrator_is_in_no_error() -> None:
    """The command that sets MongoDB up names its option, without a traceback."""
    for password in ("12/SECRET/1", "12%SECRET/1", "SECRET#SECRET/", "SECRET@SECRET"):
        refused = CliRunner().invoke(main, ["setup-mongodb", "--admin-url", f"mongodb://u:{password}@127.0.0.1:1/"])
        assert refused.exit_code == 2, refused.output
        assert "--admin-url" in refused.output
        assert "SECRET" not in refused.output


def test_a_socket_has_a_path() -> None:
    """Sockets have other schemes in redis-py and in kombu."""
    with pytest.raises(ValueError, match=r"unix:///run/redis\.sock"):
        events_address("unix://")
    with pytest.raises(ValueError, match=r"redis\+socket:///run/redis\.sock"):
        broker_address("redis+socket://")
    assert events_address("unix:///run/redis.sock?db=1") == "unix:///run/redis.sock?db=1"
    broker = broker_address("redis+socket:///run/redis.sock?virtual_host=4")
    assert events_address_of_url(broker) == "unix:///run/redis.sock?db=4"


@pytest.mark.parametrize(
    ("broker", "options", "events"),
    [
        ("redis://other:6390/1", {}, "redis://other:6390/1"),
        ("redis://", {}, "redis://localhost:6379/0"),
        ("redis://u%3A:p%40%2F@other/3", {}, "redis://u%3A:p%40%2F@other:6379/3"),
        ("redis://[::1]:1/2", {}, "redis://[::1]:1/2"),
        ("rediss://h?ssl_cert_reqs=CERT_REQUIRED", {}, "rediss://h:6379/0?ssl_cert_reqs=required"),
        ("redis://h", {"ssl": {"ssl_cert_reqs": "none"}}, "rediss://h:6379/0?ssl_cert_reqs=none"),
        ("redis://h", {"ssl": True}, "rediss://h:6379/0"),
        ("redis+socket:///run/r.sock?virtual_host=2", {}, "unix:///run/r.sock?db=2"),
        ("redis+socket:///run/r.sock", {"virtual_host": "2"}, "unix:///run/r.sock?db=2"),
        ("redis+socket://u:p%40%2F@/run/r.sock", {}, "unix://u:p%40%2F@/run/r.sock?db=0"),
        ("h", {"transport": "redis", "port": 5, "virtual_host": "7", "password": "p"}, "redis://:p@h:5/7"),
    ],
)
def test_events_go_to_the_redis_of_a_broker(broker: str, options: dict[str, object], events: str) -> None:
    """Its host, database, password and TLS are those of the connection, however the application gave them."""
    connection = Connection(broker, **options)  # type: ignore[no-untyped-call] # kombu
    assert events_address_of(connection) == events
