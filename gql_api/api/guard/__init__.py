"""Middleware that refuses requests for unknown hosts and of foreign pages, before anything else sees them."""
