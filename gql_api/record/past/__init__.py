"""The former states of tasks, and the tombstones of deleted tasks."""
