"""Decide before execution whether a request is allowed: the size, the shape and the cost of its document."""
