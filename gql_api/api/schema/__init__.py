"""GraphQL types and resolvers."""
