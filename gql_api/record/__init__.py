"""The task record: the only wing that spells the names of stored fields.

``fields`` has the names, states and indexes, ``model`` the values with several fields, ``reads`` the record that is
read from a document. The changes are pure functions that return (filter, update) pairs: ``writes`` has those of an
attempt and the function that builds them all, ``claims`` has claims, leases and fences, ``control`` the changes that
callers ask for, ``bulk`` those of many tasks, ``due`` the queries and changes of recovery, ``tombstones`` those of
deletions. ``queries`` has common filters and projections. ``logs`` has the documents of log lines, ``canvas`` those of
chords and groups.

Nothing here does I/O: workers use the sync client of PyMongo, the API the async one.
"""
