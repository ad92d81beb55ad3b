"""Seeds as dots: every number of a column, the margins of a claim, and numbers over the keys of a `*` place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from fgcli.reports.plots import INK, LINE, WIDE_RANGE, canvas

WIDTH, LINE_HEIGHT, MARGIN = 3.3, 0.2, 0.62
"""Of a drawing, of one of its lines, of what stands around them, inches."""
LONGEST = 20
"""Letters of a row's name in a line."""
STYLES = ("-", "--", ":", "-.")


def dots(name: str, rows: Mapping[str, Sequence[float]], unit: str = "", zero: bool = False) -> str:
    """A line per row, a dot per seed and a stroke at their mean; `zero` draws where 0 is."""
    names = [fill(label, LONGEST) for label in rows]
    lines = 1 + max(label.count("\n") for label in names)
    height = MARGIN + LINE_HEIGHT * (0.4 + 0.6 * lines) * len(rows)
    with canvas(name, (1.6 * WIDTH if zero else WIDTH, height)) as (axes, finish):
        for y, values in enumerate(rows.values()):
            axes.plot(values, [y] * len(values), "o", color=LINE, markersize=4, alpha=0.6, markeredgewidth=0)
            axes.plot([np.mean(values)], [y], "|", color=INK, markersize=9, markeredgewidth=1.4)
        everything = [v for values in rows.values() for v in values]
        if zero:
            axes.axvline(0, color=INK, linewidth=0.8, linestyle="--")
        elif min(everything) > 0 and max(everything) > WIDE_RANGE * min(everything):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if max(everything) < 100 * min(everything) else (1,)))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        if axes.get_xscale() == "linear":
            axes.xaxis.set_major_locator(MaxNLocator(5 if zero or lines == 1 else 3))
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(unit)
        return finish(f"{name}: " + ", ".join(f"{label} {np.mean(values):.4g}" for label, values in rows.items()))


def series(name: str, rows: Mapping[str, Mapping[str, Sequence[float]]], unit: str, bounds: Sequence[float]) -> str:
    """A curve per row through the means at each key, a dot per seed, and a thin line at each bound."""
    with canvas(name, (1.6 * WIDTH, 2.3)) as (axes, finish):
        for (label, values), style in zip(rows.items(), STYLES * len(rows), strict=False):
            x = places(list(values))
            for place, seeds in zip(x, values.values(), strict=True):
                axes.plot([place] * len(seeds), seeds, "o", color=LINE, markersize=3.5, alpha=0.6, markeredgewidth=0)
            axes.plot(x, [np.mean(v) for v in values.values()], color=LINE, linewidth=1.5, linestyle=style, label=label)
        for bound in bounds:
            axes.axhline(bound, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        keys = list(next(iter(rows.values())))
        if places(keys) == list(range(len(keys))):
            axes.set_xticks(range(len(keys)), keys)
        axes.set_ylabel(unit)
        axes.legend(frameon=False, fontsize=8)
        worst = {label: max(float(np.mean(v)) for v in values.values()) for label, values in rows.items()}
        return finish(f"{name}; highest means: " + ", ".join(f"{label} {v:.4g}" for label, v in worst.items()))


def places(keys: Sequence[str]) -> list[float]:
    """Where keys stand on an axis: at their value where all are numbers, else one after the other."""
    try:
        return [float(key) for key in keys]
    except ValueError:
        return [float(i) for i in range(len(keys))]
