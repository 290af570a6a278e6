"""The GraphQL types about who may do what, and who has done what."""
