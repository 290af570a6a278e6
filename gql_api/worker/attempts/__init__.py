"""One attempt of a task: claimed, run within its limits, held and ended."""
