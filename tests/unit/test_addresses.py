"""The addresses of Redis that settings and applications give."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kombu.connection import Connection

from gql_api.addresses import broker_address, events_address, events_address_of, events_address_of_url


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
]


@pytest.mark.parametrize("check", [broker_address, events_address])
@pytest.mark.parametrize("url", _CUT_OFF)
def test_a_part_of_a_password_is_in_no_error(check: Callable[[str], str], url: str) -> None:
    """A special character makes a database or an option of the rest of the password."""
    with pytest.raises(ValueError, match="percent-encode") as caught:
        check(url)
    assert "SECRET" not in str(caught.value)


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
