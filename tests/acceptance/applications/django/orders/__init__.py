"""A Django app whose tasks read and write a model."""
