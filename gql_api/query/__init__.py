"""Queries on tasks.

``filter`` has a caller's filter as a value, ``compile`` turns it into a MongoDB query and a predicate in memory,
``lists`` has the orders and pages of lists, ``facets`` the counts of tasks by the values of a field.
"""
