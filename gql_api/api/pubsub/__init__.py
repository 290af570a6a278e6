"""Events from Redis, delivered to the watchers of a task or a list, and repaired from MongoDB."""
