"""The command line ``gql-api``: its commands and options."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path

import click

from gql_api.addresses import mongodb_address
from gql_api.cli.embedded_servers import ServerError
from gql_api.cli.token import token
from gql_api.server.exposure import settings_for
from gql_api.settings import Settings, SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gql-api")
def main() -> None:
    """A GraphQL front door for Celery."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that the API listens on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="The port of the API.")
@click.option(
    "--concurrency",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="How many tasks run at once.",
)
@click.option(
    "--data-dir",
    default=".data",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for the data of MongoDB and Redis.",
)
@click.option(
    "--mongodb-port",
    default=27117,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="The port of MongoDB on 127.0.0.1. If MONGODB_URL is set, its server is used instead.",
)
@click.option(
    "--redis-port",
    default=6479,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="The port of Redis on 127.0.0.1. If CELERY_BROKER_URL is set, its server is used instead.",
)
def dev(
    host: str,
    port: int,
    concurrency: int,
    data_dir: Path,
    mongodb_port: int,
    redis_port: int,
) -> None:
    """Run MongoDB, Redis, a worker and the API for development.

    The worker runs the task functions of TASK_MODULES, and restarts when their code changes. The command uses the
    programs of MongoDB and Redis on PATH, or else those of the extra "embedded". They have no authentication. Ctrl-C
    stops everything and keeps the data.
    """
    from gql_api.cli.dev import run  # noqa: PLC0415 - the other commands need no process manager
    from gql_api.cli.stack import Options  # noqa: PLC0415 - as above

    try:
        settings_for(Settings.load(), host)
        options = Options(host, port, concurrency, data_dir.resolve(), mongodb_port, redis_port)
        sys.exit(run(options))
    except (ServerError, SettingsError) as error:
        raise click.ClickException(str(error)) from None


def _checked_root_path(_context: click.Context, _parameter: click.Parameter, path: str) -> str:
    path = path.rstrip("/")
    if path and not path.startswith("/"):
        raise click.BadParameter(f"must begin with a slash, got {path}")
    if not path.isascii():
        raise click.BadParameter(f"must be ASCII, as in a URL, got {path}")
    return path


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that the API listens on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="The port of the API.")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    help="How many processes serve the port. One uses one core.",
)
@click.option(
    "--drain-seconds",
    default=10,
    show_default=True,
    type=click.IntRange(0),
    help="How many seconds open requests have to finish after SIGTERM. WebSockets and streams are closed at once.",
)
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    help="The lowest level of the lines in the log. Requests are info, those of health checks and metrics debug.",
)
@click.option(
    "--root-path",
    default="",
    callback=_checked_root_path,
    help="The path below which a proxy publishes the API, such as /tasks-api. The proxy removes it from requests.",
)
@click.option(
    "--forwarded-allow-ips",
    envvar="FORWARDED_ALLOW_IPS",
    default="127.0.0.1,::1",
    show_default=True,
    help="The addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted, by commas; * "
    "trusts all.",
)
def serve(
    host: str,
    port: int,
    workers: int,
    drain_seconds: int,
    log_level: str,
    root_path: str,
    forwarded_allow_ips: str,
) -> None:
    """Run the API in production. It takes its addresses from the environment; see the README.

    On an address that others can reach, the command needs authentication, or the settings AUTH=none and
    ALLOW_UNAUTHENTICATED=yes. It also needs the setting ALLOWED_HOSTS, and turns on the setting PRODUCTION.
    """
    from gql_api.telemetry.shared import shared_figures  # noqa: PLC0415 - the other commands need no server

    try:
        settings = settings_for(Settings.load(), host)
        with contextlib.nullcontext() if workers == 1 else shared_figures():
            from gql_api.server.serve import Options, run  # noqa: PLC0415 - it has to find the shared figures

            options = Options(host, port, workers, drain_seconds, log_level, root_path, forwarded_allow_ips)
            stopped_by = run(settings, options)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    if stopped_by not in (None, signal.SIGINT):  # as uvicorn does for one process
        signal.raise_signal(stopped_by)


@main.command()
@click.argument("hostname")
@click.option("--timeout", default=5.0, show_default=True, help="How many seconds the worker has to answer.")
def check_worker(hostname: str, timeout: float) -> None:
    """Fail unless the worker HOSTNAME, such as celery@host, consumes. For health checks.

    The worker answers over CELERY_BROKER_URL. MongoDB is not asked: a worker that waits for it is in order.
    """
    from gql_api.cli.check_worker import is_consuming  # noqa: PLC0415 - the other commands need no Celery

    try:
        if not is_consuming(Settings.load(), hostname, timeout):
            raise click.ClickException(f"{hostname} does not consume")
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def _checked_admin_url(_context: click.Context, _parameter: click.Parameter, url: str) -> str:
    try:
        return mongodb_address(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@main.command()
@click.option(
    "--admin-url",
    envvar="MONGODB_ADMIN_URL",
    required=True,
    callback=_checked_admin_url,
    help="The URL of the server, with the credentials of an administrator.",
)
@click.option("--member", default="localhost:27017", show_default=True, help="The host:port that clients connect to.")
@click.option("--timeout", default=60.0, show_default=True, help="How many seconds the server has to become ready.")
def setup_mongodb(admin_url: str, member: str, timeout: float) -> None:
    """Make one MongoDB server a replica set of one node, and create the user in MONGODB_URL. Safe to repeat.

    The user can read and write MONGODB_DATABASE only.
    """
    from gql_api.cli.replica_set import SetupError, setup  # noqa: PLC0415 - the other commands do not need it

    try:
        setup(Settings.load(), admin_url, member, timeout)
    except (SettingsError, SetupError) as error:
        raise click.ClickException(str(error)) from None


class _UnableError(click.ClickException):
    """An error of a command whose exit code 1 is a finding."""

    exit_code = 2


@main.command()
@click.option("--repair", is_flag=True, help="Derive what is missing or wrong, where that is possible.")
@click.option(
    "--export",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the records to a new file, as they are found: one a line, in MongoDB's canonical Extended JSON.",
)
@click.option("--delete", is_flag=True, help="Delete the records that are exported, except repaired ones.")
def doctor(*, repair: bool, export: Path | None, delete: bool) -> None:
    """List records that do not fit: the id, the field and the problem of each.

    The exit code is 0 when none is left, 1 when some are, and 2 when the command could not run.
    """
    from gql_api.cli.doctor import Actions, DoctorError, run  # noqa: PLC0415 - the other commands do not need it

    if delete and export is None:
        raise click.UsageError("--delete needs --export, which keeps what is deleted")
    try:
        left = run(Settings.load(), Actions(repair, export, delete), click.echo)
    except (SettingsError, DoctorError) as error:
        raise _UnableError(str(error)) from None
    sys.exit(1 if left else 0)


main.add_command(token)
