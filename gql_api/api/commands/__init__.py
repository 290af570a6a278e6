"""Commands of a caller on tasks: validate, store, announce."""
