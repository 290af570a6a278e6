"""The ``gql-api`` commands, and the servers that ``gql-api dev`` starts. No other wing imports this one."""
