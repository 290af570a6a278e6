"""Shared executions: the subscribers of one operation share its execution."""
