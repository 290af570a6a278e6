"""Statistics of tasks in the schema."""
