"""Commands on tasks: validate, store, publish."""
