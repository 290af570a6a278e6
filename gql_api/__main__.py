"""``python -m gql_api`` is ``gql-api``."""

from gql_api.cli.main import main

main(prog_name="gql-api")
