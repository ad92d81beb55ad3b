"""What `fg evaluate` finds: numbers, the intervals around them, what they are made of and how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fgcli.intervals import PROTOCOL, bootstrap, interval
from fgcli.metrics.paired import Paired

GENERATOR = "generator"
"""The model that the others are held against."""
JACKKNIFED = "distribution/"
"""Places of numbers whose replicates leave out blocks; the others' are of a bootstrap."""


@dataclass
class Results:
    """What goes to metrics.json, protocols.json and evaluation.h5.

    Attributes:
        numbers: nested by kind, model and so on.
        protocols: how they were measured.
        values: arrays behind them.
        left_out: what could not be measured, and why.
        replicates: of numbers by place, "reconstruction/generator/given_mask/l1"; see `fgcli.intervals`.
    """

    numbers: dict[str, Any] = field(default_factory=dict)
    protocols: dict[str, Any] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    replicates: dict[str, np.ndarray] = field(default_factory=dict)

    def add_paired(self, place: str, metrics: Sequence[Paired], people: np.ndarray) -> None:
        """Numbers of paired metrics of one model on images that show these people (n,), with their replicates."""
        numbers: dict[str, float | int] = {"images": max((len(metric.values) for metric in metrics), default=0)}
        for metric in metrics:
            value = metric.compute()
            self.values[f"{place}/{metric.name}"] = metric.values
            if math.isnan(value):
                self.left_out[f"{place}/{metric.name}"] = "no image has a face pixel in its mask"
                continue
            numbers[metric.name] = value
            self.replicates[f"{place}/{metric.name}"] = bootstrap(metric.values, people)
            missing = int(np.isnan(metric.values).sum())
            if missing:
                numbers[f"{metric.name}_images"] = len(metric.values) - missing
        put(self.numbers, place, numbers)

    def add_intervals(self, people: np.ndarray) -> None:
        """`intervals` {low, high} of every number with finite replicates, and `differences` of models, with theirs.

        Args:
            people: (n,) whom the held-out images show.
        """
        count = len(set(people.tolist()))
        self.protocols["intervals"] = PROTOCOL | {"held_out_people": count}
        if count < 2:
            self.left_out["intervals"] = "the held-out images show one person"
            return
        known = {place: made for place, made in self.replicates.items() if np.isfinite(made).all()}
        for place, made in known.items():
            low, high = interval(at(self.numbers, place), made, place.startswith(JACKKNIFED))
            put(self.numbers, f"intervals/{place}", {"low": low, "high": high})
            model = next(name for name in place.split("/") if name in self.protocols["models"] or name == "real")
            own = place.replace(model, GENERATOR, 1)
            if model != GENERATOR and own in known:
                value = at(self.numbers, own) - at(self.numbers, place)
                low, high = interval(value, known[own] - made, place.startswith(JACKKNIFED))
                where = f"differences/{place.replace(model, f'{GENERATOR}-{model}', 1)}"
                put(self.numbers, where, {"value": value, "low": low, "high": high})


def at(numbers: dict[str, Any], place: str) -> Any:
    """What stands at "a/b" of nested numbers."""
    for name in place.split("/"):
        numbers = numbers[name]
    return numbers


def put(numbers: dict[str, Any], place: str, value: Any) -> None:
    """Sets what stands at "a/b", making what it is nested in."""
    *outer, last = place.split("/")
    for name in outer:
        numbers = numbers.setdefault(name, {})
    numbers[last] = value
