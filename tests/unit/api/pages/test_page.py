from __future__ import annotations

import json
import re
from typing import Any

import built
import pytest

from gql_api.api.pages.page import PageOptions
from gql_api.settings import Settings

_ISSUER: dict[str, Any] = {
    "jwt_issuer": "https://login.example.com:8443/realms/shop",
    "jwt_jwks_url": "https://login.example.com/certs",
    "jwt_audience": ("tasks", "others"),
    "oidc_client_id": "</script><script>alert(1)</script>&",
    "oidc_scope": "openid offline_access",
}


def _config(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="config">([^<]*)</script>', page)
    config: dict[str, Any] = json.loads(text)
    return config


def _policy(options: PageOptions) -> dict[str, list[str]]:
    rules = options.headers["Content-Security-Policy"].split("; ")
    return {name: sources for name, *sources in (rule.split() for rule in rules)}


@pytest.mark.parametrize(
    ("root_path", "base"),
    [
        ("", "/"), ("/tasks", "/tasks/"), ("/tasks/", "/tasks/"), ("/a b", "/a%20b/"),
        ('/"><script>', "/%22%3E%3Cscript%3E/"), ("/ä&<", "/%C3%A4%26%3C/"),
    ],
)  # fmt: skip
def test_a_page_knows_its_path(root_path: str, base: str) -> None:
    """The base and the path of the API are below the path of the request, which cannot become markup."""
    page = PageOptions.of(Settings()).render(built.PAGE, root_path, needs_token=False)
    assert re.findall(r"<base[^>]*>", page) == [f'<base href="{base}">']
    assert _config(page)["path"] == f"{base}graphql"
    assert page.count("<script") == built.PAGE.count("<script")


def test_the_configuration_says_what_the_deployment_has() -> None:
    """Without settings there is no issuer; the page has the version of the package."""
    config = _config(PageOptions.of(Settings()).render(built.PAGE, "", needs_token=True))
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", config.pop("version"))
    assert config == {
        "path": "/graphql", "title": "gql-api", "board": True, "playground": True, "authentication": True, "oidc": None,
    }  # fmt: skip
    production = PageOptions.of(Settings(production=True, dashboard=False))
    config = _config(production.render(built.PAGE, "", needs_token=False))
    assert (config["board"], config["playground"], config["authentication"]) == (False, False, False)


def test_the_issuer_is_in_the_configuration_and_in_the_policy() -> None:
    """The page may connect to the issuer's origin, and no value can end the element that holds it."""
    options = PageOptions.of(Settings(**_ISSUER))
    page = options.render(built.PAGE, "", needs_token=True)
    assert _config(page)["oidc"] == {
        "issuer": _ISSUER["jwt_issuer"],
        "clientId": _ISSUER["oidc_client_id"],
        "scope": "openid offline_access",
        "audience": "tasks",
    }
    assert page.count("<script") == built.PAGE.count("<script")
    assert _policy(options)["connect-src"] == ["'self'", "https://login.example.com:8443"]


def test_the_policy_allows_the_pages_own_files_only() -> None:
    """No script or worker of another origin or in the page itself runs, and no other page frames the page."""
    policy = _policy(PageOptions.of(Settings()))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == ["'none'"]
    assert policy["script-src"] == policy["worker-src"] == policy["connect-src"] == policy["base-uri"] == ["'self'"]
    assert policy["img-src"] == policy["font-src"] == ["'self'", "data:"]
