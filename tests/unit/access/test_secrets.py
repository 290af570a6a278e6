from __future__ import annotations

import pytest

from gql_api.settings import Settings, SettingsError

_OLD, _NEW = "o" * 32, "n" * 32


def test_a_secret_is_one_or_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the secret is changed there are two of them, and neither is in the representation of the settings."""
    assert Settings().access_secrets == ()
    monkeypatch.setenv("ACCESS_SECRET", _OLD)
    assert Settings.load().access_secrets == (_OLD,)
    monkeypatch.setenv("ACCESS_SECRET", f"{_NEW}, {_OLD}")
    settings = Settings.load()
    assert settings.access_secrets == (_NEW, _OLD)
    assert _OLD not in repr(settings)


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("short", "at least 32 characters needed, got 5"),
        (f"{_NEW},", "at least 32 characters needed, got 0"),
        (f"{_NEW},short", "at least 32 characters needed, got 5"),
        (f"{_NEW},{_OLD},{_OLD}", "at most 2 secrets allowed, separated by a comma, got 3"),
    ],
    ids=["short", "empty", "second short", "three"],
)
def test_a_weak_secret_is_refused(monkeypatch: pytest.MonkeyPatch, secret: str, message: str) -> None:
    """The message names the variable and the limit, and never has the secret."""
    monkeypatch.setenv("ACCESS_SECRET", secret)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert str(refused.value) == f"ACCESS_SECRET: {message}"
