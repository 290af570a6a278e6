"""The progress of counting, as the API reads it."""

from __future__ import annotations

from datetime import datetime

from pymongo.asynchronous.database import AsyncDatabase

from gql_api.api.store.committed import MAJORITY
from gql_api.record.reads import CODEC, Document
from gql_api.record.statistics import progress
from gql_api.record.statistics.progress import Step


async def read_progress(database: AsyncDatabase[Document]) -> dict[Step, datetime | None]:
    """Read until when each step is done, as a majority of the members of a replica set has it."""
    collection = database.get_collection(progress.PROGRESS, codec_options=CODEC, read_concern=MAJORITY)
    document = await collection.find_one(progress.THE_PROGRESS)
    return {step: progress.done_until(document, step) for step in Step}
