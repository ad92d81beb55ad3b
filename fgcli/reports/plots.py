"""Curves as small SVG drawings that take their colours from the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

INK, LINE = "#010203", "#040506"
"""Stand-ins, replaced by the page's text and accent colours."""
COLOURS, MARKERS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"), "osv^D<>P"
"""Of several lines in one drawing: Okabe and Ito's, which the colour-blind can tell apart."""
WIDE_RANGE = 20.0
"""Ratio of the largest to the smallest value above which an axis is logarithmic."""


@dataclass(frozen=True)
class Curve:
    """One drawing and what it shows."""

    name: str
    svg: str
    last: float
    note: str = ""


def curves(history: Mapping[str, np.ndarray]) -> list[Curve]:
    """A drawing per term over `history["step"]`, the validation loss first; none when there is no history."""
    if len(history.get("step", ())) == 0:
        return []
    steps = history["step"]
    names = sorted((k for k in history if k != "step"), key=lambda k: (k != "validation", k == "learning_rate", k))
    return [_curve(name, steps, np.asarray(history[name], np.float64)) for name in names]


def _curve(name: str, steps: np.ndarray, values: np.ndarray) -> Curve:
    known = np.isfinite(values)
    steps, values, last = steps[known], values[known], float(values[-1])
    best = int(values.argmin()) if name == "validation" and len(values) else None
    note = f"{values[best]:.4g} at step {steps[best]:.0f}" if best is not None else ""
    return Curve(name, _draw(name, steps, values, best), last, note)


def histogram(name: str, values: np.ndarray, unit: str, most: float) -> str:
    """How `values` spread from 0 to `most`, larger ones in the last bar; the dashed line is the median."""
    with canvas(name, (5.4, 1.8)) as (axes, finish):
        axes.hist(np.minimum(values, most), bins=40, range=(0, most), color=LINE)
        axes.axvline(float(np.median(values)), color=INK, linewidth=1, linestyle="--")
        axes.set_xlabel(unit)
        axes.set_ylabel("faces")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        return finish(f"{name}: a histogram of {len(values)} values, median {np.median(values):.3g} {unit}")


def together(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], across: str, up: str) -> str:
    """Lines (x, y) with a label each; `across` and `up` name the axes."""
    with canvas(f"{across} {up}", (5.4, 3.2)) as (axes, finish):
        for i, (label, (x, y)) in enumerate(lines.items()):
            axes.plot(
                x, y, color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)], markersize=4, label=label
            )
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.legend(frameon=False, fontsize=8)
        return finish(f"{up} over {across}, a line each for {', '.join(lines)}")


def _draw(name: str, steps: np.ndarray, values: np.ndarray, best: int | None) -> str:
    with canvas(name, (2.7, 1.6)) as (axes, finish):
        axes.plot(steps, values, color=LINE, linewidth=1.6, marker="o" if len(steps) < 3 else "", markersize=3)
        if best is not None:
            axes.plot(steps[best], values[best], "o", color=LINE, markersize=5)
        if len(values) and values.min() > 0 and values.max() > WIDE_RANGE * values.min():
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel("step")
        return finish(f"{name} over the steps of training")


@contextmanager
def canvas(name: str, size: tuple[float, float]) -> Iterator[tuple[Any, Callable[[str], str]]]:
    """Axes to draw on, and what makes the drawing of them, given its alternative text."""
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": "sans-serif",
        "font.size": 9,
    }
    settings |= {k: INK for k in ("text.color", "axes.edgecolor", "xtick.color", "ytick.color", "axes.labelcolor")}
    with rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)

        def finish(alt: str) -> str:
            data = io.BytesIO()
            figure.patch.set_visible(False)
            canvas.print_svg(data, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
            return _inline(data.getvalue().decode(), alt)

        yield axes, finish


def _inline(svg: str, alt: str) -> str:
    """The drawing for use inside HTML: no head, no ids that repeat, the page's colours."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg).replace(INK, "currentColor").replace(LINE, "var(--accent)")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" ', 1).strip()
