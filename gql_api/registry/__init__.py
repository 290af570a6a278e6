"""The task definitions, workers and queues that workers announce."""
