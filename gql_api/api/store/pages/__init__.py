"""Pages of tasks: what MongoDB reads for them, by which index, and who shares a read."""
