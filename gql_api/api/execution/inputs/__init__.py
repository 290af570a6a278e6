"""The variables of operations, coerced by functions that are made once for their types."""
