"""The GraphQL front door: create tasks, read them back, watch them live."""
