"""The audit log: who has changed what, by which token, and from where."""
