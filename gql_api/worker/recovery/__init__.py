"""Recovery of tasks that no living worker holds."""
