"""The entries of the audit log: their names, what is stored of them, and how they are found. No I/O."""
