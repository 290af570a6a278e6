"""The counters of a process."""
