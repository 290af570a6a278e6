"""The progress of counting: until when the buckets of statistics hold every task."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from pymongo.asynchronous.database import AsyncDatabase

from gql_api.api.store.committed import MAJORITY
from gql_api.record.reads import CODEC, Document
from gql_api.record.statistics import buckets


class Progress(NamedTuple):
    """The times until which minutes are counted, and were checked; None if counting has not begun."""

    counted_until: datetime | None
    checked_until: datetime | None


async def read_progress(database: AsyncDatabase[Document]) -> Progress:
    """Read the progress, as a majority of the members of a replica set has it."""
    collection = database.get_collection(buckets.PROGRESS, codec_options=CODEC, read_concern=MAJORITY)
    return Progress(*buckets.progress_from(await collection.find_one(buckets.THE_PROGRESS)))
