"""The announcement of the task functions that a worker can run."""
