"""Addresses: of Redis in one spelling for redis-py and kombu, of hosts and origins in that of browsers."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from kombu.connection import Connection

_TLS = "rediss"
# Options of redis-py whose values may have an @.
_WITH_AT = re.compile(r"[?&](?:username|password|client_name)=[^&]*@")
_REQUIREMENTS = ("required", "optional", "none")
_CERT_REQS = "ssl_cert_reqs"
# Celery's spelling, which redis-py refuses when it connects.
_SPELLINGS = {f"CERT_{name.upper()}": name for name in _REQUIREMENTS}
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_EXAMPLE = "expected an address like redis://host:6379/0"
_ENCODE = (
    "it cannot be used: percent-encode the special characters of the user name and of the password, "
    "such as / ? # @ ; as %2F %3F %23 %40 %3B"
)


# A name or an address, and perhaps a port. Names of containers may have underscores.
_HOST = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[^/?#@]+)")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
# A host name has at most 253 characters.
_MAX_LENGTH = 300


def host_name(host: str) -> str:
    """Return the name in a Host header in lower case, without the port.

    Raises:
        ValueError: the text is not a host.
    """
    return _host(host)[0]


def origin(text: str) -> str:
    """Return an origin in the spelling of browsers: in lower case, without the default port.

    Raises:
        ValueError: the text is not an origin, such as ``null``.
    """
    found = _ORIGIN.fullmatch(text.lower()) if len(text) <= _MAX_LENGTH else None
    if found is None:
        raise ValueError("expected an origin like https://app.example.com")
    scheme = found["scheme"]
    name, port = _host(found["host"])
    return f"{scheme}://{name}" if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{scheme}://{name}:{port}"


def _host(text: str) -> tuple[str, str | None]:
    found = _HOST.fullmatch(text.lower()) if len(text) <= _MAX_LENGTH else None
    if found is None:
        raise ValueError("expected a host like api.example.com")
    # A name that ends with a dot is the same name.
    return found["host"].removesuffix("."), found["port"]


def is_loopback(address: str) -> bool:
    """Return whether an IP address is one that only this machine reaches.

    Raises:
        ValueError: the text is not an IP address.
    """
    # A link-local address may end with the name of an interface.
    parsed = ipaddress.ip_address(address.partition("%")[0])
    # Sockets for both versions show an IPv4 address as an IPv6 one.
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


@contextlib.contextmanager
def errors_without_credentials(url: str) -> Iterator[None]:
    """Replace an error about an address that may contain a part of the password.

    A special character of a password that is not percent-encoded ends the name of the host. The rest of the password is
    then taken for a path, a database or an option, and is in the message.

    Raises:
        ValueError: the body raised one, or the error of a library.
    """
    try:
        yield
    except Exception:
        if "@" in _after_host(url)[1]:
            raise ValueError(_ENCODE) from None
        raise


def _check_credentials(url: str) -> None:
    """Check that the password ends at the last @ of an address.

    Libraries find no fault with some other addresses, and connect to a part of the password.
    """
    host, rest = _after_host(url)
    # The path of a socket without credentials may have an @.
    if host and "@" in rest and not _WITH_AT.search(url):
        raise ValueError(_ENCODE)


def _after_host(url: str) -> tuple[str, str]:
    """Return the host of an address, with the credentials and the port, and what follows."""
    # kombu takes what follows a ; for another address.
    host, *rest = re.split("[/?#;]", url.partition("://")[2], maxsplit=1)
    return host, "".join(rest)


def events_address(url: str) -> str:
    """Check an address of the Redis for events, and return it in the spelling of redis-py.

    Raises:
        ValueError: the address can never work.
    """
    given, url = url, _checked(url, ("redis", _TLS, "unix"))
    # A client of the API, which has asynchronous connections, and one of a worker. Neither connects.
    from redis import ConnectionPool  # noqa: PLC0415 - most modules that read settings never connect
    from redis.asyncio import ConnectionPool as AsyncConnectionPool  # noqa: PLC0415 - the same

    with errors_without_credentials(given):
        try:
            ConnectionPool.from_url(url).make_connection()
            AsyncConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call] # redis-py
        except (TypeError, ValueError) as error:
            raise ValueError(f"redis-py cannot use the address: {error}") from None
    return url


def mongodb_address(url: str) -> str:
    """Check an address of MongoDB.

    Raises:
        ValueError: PyMongo cannot use it.
    """
    if not url.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("expected an address like mongodb://host:27017/?replicaSet=rs0")
    _check_credentials(url.partition("?")[0])  # values of options may have an @
    from pymongo import MongoClient  # noqa: PLC0415 - see above
    from pymongo.errors import PyMongoError  # noqa: PLC0415 - see above

    with errors_without_credentials(url):
        try:
            MongoClient[dict[str, object]](url, connect=False).close()
        except (PyMongoError, OSError) as error:
            raise ValueError(str(error)) from None
    return url


def stock_address(url: str) -> str:
    """Check the credentials in an address of a result backend, as far as that needs no driver of its server.

    Raises:
        ValueError: they end where Celery does not expect it.
    """
    scheme = url.partition(":")[0]
    if scheme in ("mongodb", "mongodb+srv"):
        return mongodb_address(url)
    if scheme in ("redis", _TLS):
        _check_credentials(url)
        with errors_without_credentials(url):
            _check_port(url)
    return url


def broker_address(url: str) -> str:
    """Check an address of the broker, and return it in a spelling that kombu and redis-py understand.

    Raises:
        ValueError: the address can never work.
    """
    given, url = url, _checked(url, ("redis", _TLS, "redis+socket"))
    if "?" not in url:
        return url
    from kombu.connection import Connection  # noqa: PLC0415 - see above

    with errors_without_credentials(given):
        try:
            Connection(url)  # type: ignore[no-untyped-call] # kombu
        except (TypeError, ValueError) as error:
            raise ValueError(f"Celery cannot use the address: {error}") from None
    return url


def events_address_of_url(url: str) -> str:
    """Return the address, for redis-py, of the Redis that is the broker with a checked address.

    Raises:
        ValueError: redis-py cannot use it.
    """
    if not url.startswith("redis+socket://"):
        return events_address(url)
    return _socket_address(url, "0")


def events_address_of(broker: Connection) -> str:
    """Return the address, for redis-py, of the Redis that is a broker.

    Raises:
        ValueError: redis-py cannot use it.
    """
    host, database = str(broker.hostname or "localhost"), str(broker.virtual_host or "0").strip("/") or "0"
    user = f"{quote(broker.userid or '', '')}:{quote(broker.password or '', '')}@" if broker.password else ""
    if host.startswith("socket://"):
        return _socket_address(host, database)
    options = _tls_options(broker.ssl) if broker.ssl else {}
    scheme = _TLS if broker.ssl else "redis"
    address = f"[{host}]" if ":" in host else host
    return events_address(
        f"{scheme}://{user}{address}:{broker.port or 6379}/{database}?{urlencode(options)}".rstrip("?")
    )


def _socket_address(url: str, database: str) -> str:
    # kombu and redis-py decode the user name, the password and the path in the same way.
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    database = dict(parse_qsl(parts.query)).get("virtual_host", database)
    return events_address(f"unix://{credentials}{at}{parts.path}?db={database}")


def _tls_options(given: object) -> dict[str, str]:
    options = dict(given) if isinstance(given, Mapping) else {}
    requirement = options.get(_CERT_REQS)
    if isinstance(requirement, ssl.VerifyMode):
        options[_CERT_REQS] = _SPELLINGS[requirement.name]
    return {name: str(value) for name, value in options.items() if value is not None}


def _checked(url: str, schemes: tuple[str, ...]) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in schemes:
        raise ValueError(_EXAMPLE)
    _check_credentials(url)
    with errors_without_credentials(url):
        return _usable(url, scheme)


def _usable(url: str, scheme: str) -> str:
    _check_port(url)
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if scheme in ("unix", "redis+socket"):
        if parts.path in ("", "/"):
            raise ValueError(f"expected the path of a socket, like {scheme}:///run/redis.sock")
        database = query.get("db", query.get("virtual_host", ""))
    else:
        database = query.get("db", unquote(parts.path).strip("/"))
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError(f"the database has to be a number, not {database!r}")
    return _with_tls(url, scheme, query)


def _check_port(url: str) -> None:
    try:
        # kombu's sockets have a scheme that urlsplit does not split.
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "the port has to be a number up to 65535; percent-encode special characters of the password"
        ) from None
    if parts.fragment:
        raise ValueError("a # in the password has to be written as %23")


def _with_tls(url: str, scheme: str, query: dict[str, str]) -> str:
    given = sorted(name for name in query if name.startswith("ssl_"))
    if not given:
        return url
    if scheme != _TLS:
        raise ValueError(f"{given[0]} is for addresses that begin with rediss://")
    if _CERT_REQS in query:
        requirement = _SPELLINGS.get(query[_CERT_REQS], query[_CERT_REQS])
        if requirement not in _REQUIREMENTS:
            raise ValueError(f"{_CERT_REQS} has to be required, optional or none, not {requirement!r}")
        query[_CERT_REQS] = requirement
    _check_files(query)
    base, _, _ = url.partition("?")
    return f"{base}?{urlencode(query)}"


def _check_files(query: Mapping[str, str]) -> None:
    """Read the files of certificates, as each connection does.

    Raises:
        ValueError: a file is missing or unusable.
    """
    for name in _FILES:
        if name in query and not Path(query[name]).is_file():
            raise ValueError(f"{name}: there is no file {query[name]!r}")
    context = ssl.create_default_context()
    authorities, folder = query.get("ssl_ca_certs"), query.get("ssl_ca_path")
    if folder is not None and not Path(folder).is_dir():
        raise ValueError(f"ssl_ca_path: there is no folder {folder!r}")
    try:
        if authorities is not None or folder is not None:
            context.load_verify_locations(authorities, folder)
        if "ssl_certfile" in query:
            # Without a password OpenSSL would ask the terminal for one.
            context.load_cert_chain(query["ssl_certfile"], query.get("ssl_keyfile"), query.get("ssl_password") or "")
    except OSError as error:  # ssl.SSLError too
        raise ValueError(f"the certificates cannot be used: {error}") from None
