"""The rules for the fields of records.

A record may come from another program, from a restore or from a hand. ``rules`` has one table, from which both a check
in Python and a ``$jsonSchema`` for MongoDB are made.
"""
