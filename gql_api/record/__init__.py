"""The task record: the only place that spells what stands in MongoDB.

``fields`` has the names, ``writes`` every change as a pure function to a (filter, update) pair, ``reads`` the way back
from a document, ``workers`` what workers say of themselves. Nothing here does I/O: a worker runs the pairs with the
sync client, the API with the async one.
"""
