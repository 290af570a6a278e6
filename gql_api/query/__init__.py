"""Filters on tasks, as a MongoDB query and as a predicate in memory; pages and facets."""
