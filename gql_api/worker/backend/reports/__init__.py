"""The reports of running tasks, their progress and their log lines, which threads write in batches."""
