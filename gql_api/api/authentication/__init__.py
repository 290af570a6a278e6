"""Authentication: from the token of a request to its principal."""
