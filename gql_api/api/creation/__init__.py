"""The storage of new tasks that are created at the same time, by one command for all of them."""
