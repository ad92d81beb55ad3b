"""The numbers of a table from its runs: a value per seed in every cell, or why there is none."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fgcli import artifacts
from fgcli.config import near
from fgcli.errors import FgError
from fgcli.reports.paper.layout import Column, Table, keys_of

SEED = "seed"
"""Folders of runs are named so, then the seed's number."""
PROTOCOLS = "protocols.json"
"""Says what a run left out, and why."""
NUMBERS, EVALUATION_FILE, REPLICATES, JACKKNIFED = "metrics.json", "evaluation.h5", "replicates", "distribution"
"""Trials with other people stand in the second for numbers of the first; those of its last part leave out blocks."""


@dataclass(frozen=True)
class Cell:
    """A number per seed; where the place has a `*`, per key and seed, and `seeds` is the worst over the keys.

    Attributes:
        gap: why there are no numbers; empty where there are.
        replicates: by seed, what the number is in trials with other people; none where the runs keep none.
        jackknifed: of which kind these are, see `fgcli.intervals`.
    """

    seeds: dict[int, float] = field(default_factory=dict)
    keys: dict[str, dict[int, float]] = field(default_factory=dict)
    gap: str = ""
    replicates: dict[int, np.ndarray] = field(default_factory=dict)
    jackknifed: bool = False

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.seeds.values())

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds (n - 1); None of a single one."""
        return spread(list(self.seeds.values()))


def spread(values: Sequence[float]) -> float | None:
    """sqrt(sum (x - mean)^2 / (n - 1)); None of fewer than two."""
    return statistics.stdev(values) if len(values) > 1 else None


def cells(table: Table, folder: Path, paper: Path) -> dict[str, dict[str, Cell]]:
    """Every cell by row and column; columns that do not apply to a row are absent from it.

    Args:
        folder: of all runs. paper: the file of the table, which errors name.

    Raises:
        FgError: a run, a file or a number is missing that the run does not say it left out.
    """
    found = {}
    for label in table.rebuilt():
        runs = _runs(folder / table.folder / (table.rows[label].runs or label), label, paper)
        places = {key: table.place(label, key) for key in table.columns}
        found[label] = {
            key: _cell(runs, place, table.columns[key], paper) for key, place in places.items() if place is not None
        }
    return found


def folders(folder: Path) -> dict[int, Path]:
    """The runs of a row by seed."""
    found = {p.name.removeprefix(SEED): p for p in folder.glob(f"{SEED}*") if p.is_dir()}
    return {int(name): found[name] for name in sorted((n for n in found if n.isdecimal()), key=int)}


class Run:
    """The JSON files of one seed's folder, each read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, Any] = {}

    def file(self, name: str) -> Any:
        """The content of a file.

        Raises:
            FgError: no such file, or not JSON.
        """
        if name not in self._read:
            self._read[name] = self._parse(self.folder / name)
        return self._read[name]

    def _parse(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise FgError(f"{path}: expected the numbers of a run, found no such file; run its stage") from error
        except ValueError as error:
            raise FgError(f"{path}: expected JSON, found {error}; run its stage again") from error

    def replicates(self, keys: Sequence[str]) -> np.ndarray | None:
        """What the number at a path of keys of metrics.json is in trials with other people; None if nothing says it."""
        path, name = self.folder / EVALUATION_FILE, "/".join([REPLICATES, *keys])
        if not path.exists() or name not in artifacts.layout(path):
            return None
        return artifacts.load(path, artifacts.EVALUATION, (name,))[name]

    @cached_property
    def left_out(self) -> dict[str, str]:
        """What the run left out, and why."""
        if not (self.folder / PROTOCOLS).exists():
            return {}
        return dict(self.file(PROTOCOLS).get("left_out", {}))


def _runs(folder: Path, label: str, paper: Path) -> dict[int, Run]:
    runs = {seed: Run(path) for seed, path in folders(folder).items()}
    if not runs:
        raise FgError(
            f"{folder}: expected folders {SEED}0, {SEED}1, ... of the row {label} in {paper}, found none; "
            "run it, or say under the row's `without` why there are no runs"
        )
    return runs


def _cell(runs: Mapping[int, Run], place: str, column: Column, paper: Path) -> Cell:
    """A cell's numbers in the paper's unit."""
    name, keys = place.partition(":")[0], keys_of(place)
    by_seed: dict[int, dict[str, float]] = {}
    for seed, run in runs.items():
        try:
            values = _follow(run.file(name), keys)
        except KeyError as missing:
            gap = _left_out(run.left_out, keys)
            if gap:
                return Cell(gap=gap)
            raise FgError(
                f"{run.folder / name}: expected a number at {'.'.join(keys)}, found no {missing.args[0]}; "
                f"run its stage again or correct the place in {paper}"
            ) from missing
        for value in values.values():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise FgError(
                    f"{run.folder / name}: expected a number at {'.'.join(keys)}, found {value!r}; run it again"
                )
        by_seed[seed] = {key: column.times * value + column.plus for key, value in values.items()}
    worst = max if column.better == "lower" else min
    trials = {seed: run.replicates(keys) for seed, run in runs.items()} if name == NUMBERS else {}
    return Cell(
        {seed: worst(values.values()) for seed, values in by_seed.items()},
        _transposed(by_seed) if "*" in keys else {},
        replicates={seed: column.times * t + column.plus for seed, t in trials.items() if t is not None},
        jackknifed=keys[0] == JACKKNIFED,
    )


def _transposed(by_seed: Mapping[int, Mapping[str, float]]) -> dict[str, dict[int, float]]:
    keys = dict.fromkeys(key for values in by_seed.values() for key in values)
    return {key: {seed: values[key] for seed, values in by_seed.items() if key in values} for key in keys}


def _follow(content: Any, keys: Sequence[str]) -> dict[str, Any]:
    """What stands at a path of keys, under "" or, where one of them is `*`, under each key in its place.

    Keys in the file may hold dots themselves, as numbers do.

    Raises:
        KeyError: the key that is not there, with the nearest that is.
    """
    if not keys:
        return {"": content}
    if not isinstance(content, Mapping) or not content:
        raise KeyError(repr(keys[0]))
    if keys[0] == "*":
        return {key: _follow(value, keys[1:])[""] for key, value in content.items()}
    for n in range(1, len(keys) + 1):
        key = ".".join(keys[:n])
        if key in content:
            return _follow(content[key], keys[n:])
    raise KeyError(repr(keys[0]) + near(keys[0], content))


def _left_out(reasons: Mapping[str, str], keys: Sequence[str]) -> str:
    """Why a run has no number at a path: the reason of a thing all of whose names are on it, or begin a key of it, as
    prd_classifier begins prd_classifier_f8; empty if there is none.
    """
    for thing, reason in reasons.items():
        if all(any(key == name or key.startswith(f"{name}_") for key in keys) for name in thing.split("/")):
            return reason.removeprefix(f"{thing}: ")
    return ""
