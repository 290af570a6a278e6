"""An API without authentication opens to others only when its operator says so by name."""

from __future__ import annotations

import httpx
import pytest
from click.testing import CliRunner
from starlette.types import ASGIApp, Receive, Scope, Send

import gql_api.app
from gql_api.access.principal import Principal
from gql_api.api.authentication.authenticator import NoAuthentication
from gql_api.api.context import PRINCIPAL
from gql_api.cli.main import main
from gql_api.server.exposure import settings_for
from gql_api.settings import Settings, SettingsError

_EVERYWHERE = ["0.0.0.0", "::", "", "0", "10.0.0.1", "no-such-host.invalid"]  # noqa: S104 - nothing listens there
_LOOPBACK = ["127.0.0.1", "127.9.9.9", "localhost", "::1", "127.1", "::ffff:127.0.0.1"]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALLOWED_HOSTS", "AUTH", "ALLOW_UNAUTHENTICATED", "PRODUCTION"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", _LOOPBACK)
def test_loopback_needs_no_permission(host: str) -> None:
    """On loopback the settings are taken as they are, and production is off."""
    settings = Settings.load()
    assert settings_for(settings, host) is settings
    assert not settings.production


@pytest.mark.parametrize("host", _EVERYWHERE)
@pytest.mark.parametrize("command", ["serve", "dev"])
def test_other_addresses_need_permission_by_name(monkeypatch: pytest.MonkeyPatch, command: str, host: str) -> None:
    """The command ends with one sentence that says what to set, then with one that names the hosts."""
    for variables in ({}, {"AUTH": "none"}, {"AUTH": "", "ALLOW_UNAUTHENTICATED": "yes"}):
        assert "AUTH=none and ALLOW_UNAUTHENTICATED=yes" in _refusal(monkeypatch, command, host, variables)
    for variables in ({"AUTH": "none"}, {"AUTH": "", "JWT_SECRET": "s" * 32}):
        assert _refusal(monkeypatch, command, host, variables).startswith("Error: ALLOWED_HOSTS: ")


def _refusal(monkeypatch: pytest.MonkeyPatch, command: str, host: str, variables: dict[str, str]) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    refused = CliRunner().invoke(main, [command, f"--host={host}"])
    assert refused.exit_code == 1
    assert len(refused.output.splitlines()) == 1
    return refused.output


@pytest.mark.parametrize("host", _EVERYWHERE)
def test_production_is_on_where_others_can_reach_the_server(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """It is on unless the setting turns it off, which has to be said."""
    _open(monkeypatch)
    monkeypatch.setenv("ALLOWED_HOSTS", "*")
    assert settings_for(Settings.load(), host).production
    monkeypatch.setenv("PRODUCTION", "0")
    assert not settings_for(Settings.load(), host).production
    monkeypatch.delenv("ALLOWED_HOSTS")
    with pytest.raises(SettingsError, match=r"^ALLOWED_HOSTS"):
        settings_for(Settings.load(), host)


@pytest.mark.parametrize(
    ("address", "status"),
    [("127.0.0.1", 200), ("[::1]", 200), ("[::ffff:127.0.0.1]", 200), ("10.0.0.5", 403), ("[2001:db8::1]", 403)],
)
async def test_another_server_is_not_opened_by_accident(
    monkeypatch: pytest.MonkeyPatch, address: str, status: int
) -> None:
    """`uvicorn gql_api.app:app --host ...` starts, and answers on loopback only until it has the permission."""
    assert await _status(_app(monkeypatch), address) == status
    monkeypatch.setenv("JWT_SECRET", "s" * 32)
    assert await _status(_app(monkeypatch), address) == 200
    monkeypatch.delenv("JWT_SECRET")
    monkeypatch.setenv("ALLOW_UNAUTHENTICATED", "yes")
    assert await _status(_app(monkeypatch), address) == status
    _open(monkeypatch)
    assert await _status(_app(monkeypatch), address) == 200


async def test_an_application_that_mounts_the_api_does_not_open_it_by_accident() -> None:
    """It authenticates its clients itself, or has to say that it needs not."""
    app = gql_api.app.create_app(Settings())

    async def parent(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, PRINCIPAL: Principal("alice", frozenset())}, receive, send)

    assert await _status(app, "10.0.0.5") == 403
    assert await _status(parent, "10.0.0.5") == 200
    assert await _status(gql_api.app.create_app(Settings(), NoAuthentication()), "10.0.0.5") == 200


def _open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH", "none")
    monkeypatch.setenv("ALLOW_UNAUTHENTICATED", "yes")


def _app(monkeypatch: pytest.MonkeyPatch) -> ASGIApp:
    """Return the application that a server imports, which is not kept."""
    monkeypatch.setitem(vars(gql_api.app), "app", None)
    app: ASGIApp = gql_api.app.__getattr__("app")
    return app


async def _status(app: ASGIApp, address: str) -> int:
    """Return the status of a health check that arrives at an address of this machine."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{address}:8000") as client:
        return (await client.get("/healthz")).status_code
