"""Problems: the report of values that cannot be accepted, and the error that carries them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

# A large array of wrong values would otherwise make an even larger answer.
MAX_PROBLEMS = 20

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A reason to refuse a value: the path of the value in the caller's input, and a sentence about it."""

    path: Path
    message: str
    too_large: bool = False

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.message}" if self.path else self.message


class InvalidValueError(ValueError):
    """A filter, a path or an operation on metadata cannot be used, for one or several problems."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems: Sequence[Problem] = problems

    @classmethod
    def because(cls, message: str) -> Self:
        """Create the error for one problem of a value whose path only the caller knows."""
        return cls(Problem((), message))

    def below(self, *path: str | int) -> Iterator[Problem]:
        """Yield the problems with their paths below another path."""
        yield from (replace(problem, path=(*path, *problem.path)) for problem in self.problems)
