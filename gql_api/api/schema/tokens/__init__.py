"""The GraphQL types and resolvers of the tokens that the API issues."""
