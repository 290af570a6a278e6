"""Principals, what they may do, and which tasks they may see.

The names here are for the function in ``AUTHENTICATE``, and for applications that mount the API.
"""

from gql_api.access.principal import Principal, Restrictions, Scope
from gql_api.query.filter import TaskFilter

__all__ = ["Principal", "Restrictions", "Scope", "TaskFilter"]
