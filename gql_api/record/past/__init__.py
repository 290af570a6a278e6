"""The records of what is no more: the states that tasks had before, and the tombstones of deleted tasks."""
