"""GraphQL types about callers: who they are, and what they may do."""
