"""Tables of figures from several rounds: medians, and ratios that are paired within a round."""

from __future__ import annotations

import statistics

Figures = dict[str, float]
"""The measurements of one side by name. A name with "share" in it gets no ratio."""

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
            if name != base and "share" not in figure:
                ratios = [each[name][figure] / each[base][figure] for each in rounds]
                cells[place] += f" ({_shown(statistics.median(ratios))}x{_spread(ratios)})"
            elif name == base:
                cells[place] += _spread([each[name][figure] for each in rounds])
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    return f", {_shown(min(values))} to {_shown(max(values))}" if len(values) >= _ROUNDS else ""


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number >= _WHOLE else f"{number:.2g}"
