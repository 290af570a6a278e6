"""The task definitions and workers that workers announce, and the queues.

``definitions`` has a task's signature and the check of a call against it, ``workers`` the writes by which workers
announce their tasks and themselves, ``queues`` the depths of the queues. Like the record, nothing here does I/O.
"""
