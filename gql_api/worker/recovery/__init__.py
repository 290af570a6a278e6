"""Recovery of tasks that no live worker holds, and deletion of old ones."""
