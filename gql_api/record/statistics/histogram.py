"""Histograms of durations with fixed bounds, as MongoDB fills them, and the percentiles that are read from them.

A bin holds durations whose bounds differ by a factor of 2^(1/4), 19 %. It also has the shortest and the longest of
them, so that a percentile is never beyond what was measured, and the maximum is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_BINS_PER_DOUBLING = 4
# MongoDB and Python compute logarithms that may differ in their last digit, right at a bound.
_TOLERANCE = 1e-9
_MILLISECONDS = 1000


def bin_expression(milliseconds: Any) -> dict[str, Any]:
    """Return MongoDB's expression for the bin of a duration; null for a duration that is null."""
    doublings = {"$multiply": [{"$log": [milliseconds, 2]}, _BINS_PER_DOUBLING]}
    number = {"$add": [1, {"$floor": {"$add": [doublings, _TOLERANCE]}}]}
    return {
        "$switch": {
            "branches": [
                {"case": {"$eq": [milliseconds, None]}, "then": None},
                {"case": {"$lt": [milliseconds, 1]}, "then": 0},
            ],
            "default": {"$toInt": number},
        }
    }


def bin_of(milliseconds: int) -> int:
    """Return the bin of a duration, as MongoDB's expression does."""
    if milliseconds < 1:
        return 0
    return 1 + math.floor(math.log2(milliseconds) * _BINS_PER_DOUBLING + _TOLERANCE)


class Bin(NamedTuple):
    """The durations of one bin: their number, the shortest and the longest, in milliseconds."""

    number: int
    shortest: int
    longest: int

    def and_(self, other: Bin) -> Bin:
        """Return the durations of both."""
        return Bin(self.number + other.number, min(self.shortest, other.shortest), max(self.longest, other.longest))


@dataclass(frozen=True, slots=True)
class Histogram:
    """The durations of many tasks, by bin."""

    bins: dict[int, Bin] = field(default_factory=dict)

    @classmethod
    def of(cls, milliseconds: Iterable[int]) -> Histogram:
        """Create the histogram of some durations."""
        made = cls()
        for each in milliseconds:
            made.add(bin_of(each), Bin(1, each, each))
        return made

    def add(self, index: int, durations: Bin) -> None:
        """Add durations to a bin."""
        known = self.bins.get(index)
        self.bins[index] = durations if known is None else known.and_(durations)

    @property
    def count(self) -> int:
        """The number of durations."""
        return sum(each.number for each in self.bins.values())

    @property
    def longest(self) -> float | None:
        """The longest duration in seconds; None without any."""
        return max((each.longest for each in self.bins.values()), default=0) / _MILLISECONDS if self.bins else None

    def percentile(self, share: float) -> float | None:
        """Return the duration, in seconds, that a share of the durations do not exceed; None without any.

        Within a bin, the durations count as spread evenly between the shortest and the longest.
        """
        rank = share * self.count
        below = 0
        for _, (number, shortest, longest) in sorted(self.bins.items()):
            if below + number >= rank:
                return (shortest + (longest - shortest) * (rank - below) / number) / _MILLISECONDS
            below += number
        return self.longest
