"""The state of a worker process and of the attempts it runs."""
