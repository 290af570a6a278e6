"""The announcement of what a worker can run."""
