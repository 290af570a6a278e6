"""Deliver events from Redis to the watchers of tasks and lists, and repair from MongoDB what events missed."""
