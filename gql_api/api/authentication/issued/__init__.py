"""The tokens that the API issues itself: API tokens, and access tokens that are made with a token."""
