"""Tables of figures from several rounds: medians, and ratios that are paired within a round."""

from __future__ import annotations

import statistics
from pathlib import Path

Figures = dict[str, float]
"""The measurements of one side by name. A name with "share" in it gets no ratio, nor does one to 0."""

INTO = "a document whose table with the same head is replaced"

_WHOLE = 10
_ROUNDS = 3


def table(rounds: list[dict[str, Figures]], base: str) -> str:
    """Return a table of medians over the rounds, in brackets the median ratio to a side.

    From three rounds on, it shows the lowest and the highest too: of the figure for the base, of the ratio for others.
    """
    names = list(rounds[0])
    lines = [f"| | {' | '.join(names)} |", f"|---{'|---:' * len(names)}|"]
    for figure in rounds[0][base]:
        cells = [_shown(statistics.median(each[name][figure] for each in rounds)) for name in names]
        for place, name in enumerate(names):
            if name != base and "share" not in figure and all(each[base][figure] for each in rounds):
                ratios = [each[name][figure] / each[base][figure] for each in rounds]
                cells[place] += f" ({_shown(statistics.median(ratios))}x{_spread(ratios)})"
            elif name == base:
                cells[place] += _spread([each[name][figure] for each in rounds])
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def report(new: str, document: Path | None) -> None:
    """Print the table of all rounds, and replace the one with the same head in a document, if there is one.

    Raises:
        SystemExit: the document has no such table.
    """
    print(f"all rounds\n{new}")
    if document is None:
        return
    head = new.partition("\n")[0]
    lines = document.read_text().split("\n")
    if head not in lines:
        raise SystemExit(f"{document} has no table with the head {head}")
    start = lines.index(head)
    end = next(place for place in range(start, len(lines)) if not lines[place].startswith("|"))
    document.write_text("\n".join([*lines[:start], new, *lines[end:]]))


def _spread(values: list[float]) -> str:
    return f", {_shown(min(values))} to {_shown(max(values))}" if len(values) >= _ROUNDS else ""


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number >= _WHOLE else f"{number:.2g}"
