"""The command line: ``gql-api``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gql_api.cli.embedded_servers import ServerError
from gql_api.settings import Settings, SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gql-api")
def main() -> None:
    """A GraphQL front door for Celery."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the API listens.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="The API's port.")
@click.option("--concurrency", default=2, show_default=True, type=click.IntRange(1), help="Tasks run at once.")
@click.option(
    "--data-dir",
    default=".data",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where MongoDB and Redis keep their data.",
)
def dev(host: str, port: int, concurrency: int, data_dir: Path) -> None:
    """Run all of it on this machine: MongoDB, Redis, a worker and the API.

    Servers on PATH are used, else those of the extra "embedded". For development only: no authentication, everything on
    this machine. Ctrl-C ends it all; the data stays.
    """
    from gql_api.cli.dev import run  # noqa: PLC0415 - the other commands need no process manager

    try:
        sys.exit(run(host, port, concurrency, data_dir))
    except ServerError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the API listens.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="The API's port.")
@click.option(
    "--drain-seconds",
    default=10,
    show_default=True,
    type=click.IntRange(0),
    help="How long open requests and subscriptions may take to end when the server is told to stop.",
)
def serve(host: str, port: int, drain_seconds: int) -> None:
    """Run the API for production. Addresses come from the environment, see the README.

    There is no authentication yet: listen where only trusted clients reach it.
    """
    try:
        from gql_api.server.serve import run  # noqa: PLC0415 - the other commands need no server

        run(host, port, drain_seconds)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option(
    "--admin-url", envvar="MONGODB_ADMIN_URL", required=True, help="The server, for one who may configure it."
)
@click.option("--member", default="localhost:27017", show_default=True, help="The host:port that clients will use.")
@click.option("--timeout", default=60.0, show_default=True, help="How many seconds the server may take.")
def setup_mongodb(admin_url: str, member: str, timeout: float) -> None:
    """Make one MongoDB server a replica set of one, with the user that MONGODB_URL names. Safe to repeat.

    The user may read and write MONGODB_DATABASE, and nothing else.
    """
    from gql_api.cli.replica_set import SetupError, setup  # noqa: PLC0415 - the other commands need it not

    try:
        setup(Settings.load(), admin_url, member, timeout)
    except (SettingsError, SetupError) as error:
        raise click.ClickException(str(error)) from None
