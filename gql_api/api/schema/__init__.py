"""The GraphQL types and resolvers."""
