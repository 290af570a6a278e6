"""Records that do not fit: the rules for their fields, and what can be derived where a field breaks its rule.

A record may come from another program, from a restore or from a hand. ``rules`` has one table of rules, from which both
a check in Python and a ``$jsonSchema`` for MongoDB are made; ``repairs`` has the writes that set a record aside and
repair it.
"""
