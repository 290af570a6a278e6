"""asyncio helpers that know nothing of tasks."""
