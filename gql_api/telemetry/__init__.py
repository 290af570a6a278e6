"""The counters of the process."""
