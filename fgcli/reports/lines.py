"""Curves as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fgcli.artifacts import write_aside
from fgcli.artifacts.outputs import WRITTEN


def save_lines(
    path: Path, x: Sequence[float], lines: Mapping[str, Sequence[float]], x_label: str, y_label: str
) -> None:
    """Named lines over `x`; fg's mark and no time, so equal curves give equal bytes."""
    figure = Figure(figsize=(4.8, 3.2), layout="constrained", dpi=120)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, y in lines.items():
        axes.plot(x, y, label=name, linewidth=1.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.15)
    axes.set(xlabel=x_label, ylabel=y_label, ylim=(0, None))
    if len(lines) > 1:
        axes.legend(frameon=False)
    with write_aside(path) as part:
        canvas.print_figure(part, format="png", metadata={"Software": WRITTEN})
