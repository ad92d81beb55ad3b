"""Pictures and numbers of searches over codes, from what optimum.h5 holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgcli.artifacts import Artifact
from fgcli.reports import grid
from fgcli.reports.images import Picture, Row, picture

COLUMNS = 8
"""Candidates of one trial that are shown at most."""
ROWS = 24
"""Trials that the sheet shows at most."""
SMALL = 128
"""Side below which pictures are enlarged on a sheet, px."""
SHOWN = 6
"""And on the page."""
Draw = Callable[[list[int]], list[np.ndarray]]
"""Pictures (h, w, 3) of candidates by their places."""


@dataclass(frozen=True)
class Optimum:
    """The report's section: what was sought and where, a strip per trial, numbers by round."""

    note: str
    titles: list[str]
    strips: list[Row]
    numbers: list[dict[str, float | None]]
    trials: int


def section(stored: Artifact, draw: Draw) -> Optimum:
    """Of optimum.h5."""
    trials, params = stored.meta["trials"], stored.params
    shown = [list(steps(stored.arrays, i, trial, params["goal"])) for i, trial in enumerate(trials[:SHOWN])]
    strips = [
        Row(
            named(i, trials[i]),
            [lined(image, stored.arrays, place) for image, place in zip(draw(row), row, strict=True)],
        )
        for i, row in enumerate(shown)
    ]
    return Optimum(sentence(params), titles(trials, params), strips, by_round(trials), len(trials))


def lined(image: np.ndarray, arrays: Mapping[str, np.ndarray], place: int) -> Picture:
    """A candidate with what is said of it."""
    said = feet(arrays, place)
    text = [str(arrays["text"][place])] if "text" in arrays else []
    return picture(image, f"candidate {place}: {'; '.join([*text, *said])}", "; ".join(said))


def write(
    path: Path, arrays: Mapping[str, np.ndarray], trials: Sequence[Mapping[str, Any]], params: Any, draw: Draw
) -> None:
    """The sheet: a row per trial, its start if it has one and the best after each round."""
    rows = [list(steps(arrays, i, trial, params["goal"])) for i, trial in enumerate(trials[:ROWS])]
    pictures = [draw(row) for row in rows]
    lines = [[feet(arrays, place) for place in row] for row in rows]
    names, scale = [named(i, trial) for i, trial in enumerate(trials[:ROWS])], max(1, SMALL // pictures[0][0].shape[1])
    grid.save_picture(path, grid.sheet(pictures, names, titles(trials, params), scale, lines))


def steps(arrays: Mapping[str, np.ndarray], number: int, trial: Mapping[str, Any], goal: str) -> list[int]:
    """Places of the start, where there is one, and of the best candidate after each round that is shown.

    Where none is valid yet, the first candidate stands for it.
    """
    sign = 1 if goal == "maximise" else -1
    first = int(np.flatnonzero(arrays["trial"] == number)[0])
    found = [best(arrays, number, k, sign) for k in shown_rounds(trial)]
    start = [first] if trial["row"] is not None else []
    return start + [first if place is None else place for place in found]


def best(arrays: Mapping[str, np.ndarray], trial: int, until: int, sign: int) -> int | None:
    """The place of the best valid candidate of a trial up to a round; none where none is valid."""
    there = (arrays["trial"] == trial) & (arrays["round"] <= until) & (arrays["valid"] > 0)
    places = np.flatnonzero(there)
    return int(places[np.argmax(sign * arrays["value"][places])]) if len(places) else None


def shown_rounds(trial: Mapping[str, Any]) -> list[int]:
    """The last round, and some before it."""
    last = len(trial["rounds"]) - 1
    return [last - k for k in grid.spread(last + 1, COLUMNS - 1)][::-1]


def titles(trials: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[str]:
    """Of the columns of `steps`."""
    start = ["start"] if trials[0]["row"] is not None else []
    return start + [f"round {k}" for k in shown_rounds(trials[0])]


def named(number: int, trial: Mapping[str, Any]) -> str:
    """What a trial is called."""
    return f"trial {number}" if trial["row"] is None else f"row {trial['row']}"


def feet(arrays: Mapping[str, np.ndarray], place: int) -> list[str]:
    """Its value, and how far it is from the start's person, where that was measured; a picture has its sentence."""
    apart = [f"identity {arrays['measures/identity'][place]:.2f}"] if "measures/identity" in arrays else []
    return [f"{arrays['value'][place]:.3g}", *apart]


def by_round(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, float | None]]:
    """Means over the trials of what each round brought."""
    found = []
    for several in zip(*(trial["rounds"] for trial in trials), strict=True):
        known = {key: [entry[key] for entry in several if entry.get(key) is not None] for key in several[0]}
        found.append({key: float(np.mean(values)) if values else None for key, values in known.items()})
    return found


def sentence(params: Mapping[str, Any]) -> str:
    """What was sought, where, and how."""
    spec, region = ({k: v for k, v in params[key].items() if k != "name"} for key in ("score", "region"))
    told = lambda name, spec: name + "".join(f", {k} {v}" for k, v in spec.items() if v is not None)  # noqa: E731
    sought = f"{params['goal'].capitalize()}d: {told(params['score']['name'], spec)}."
    where = f"Region: {told(params['region']['name'], region)}."
    how = (
        f"{params['initial']} candidates known first, then {params['rounds']} rounds of {params['batch']}, each chosen "
    )
    return f"{sought} {where} {how}by expected improvement under a Gaussian process."
