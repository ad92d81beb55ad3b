"""One search: rounds of questions to a score, each where a surrogate of all answers before expects most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fgcli.artifacts.parts import load_part, save_part
from fgcli.capabilities import Generator
from fgcli.codes import Codes
from fgcli.errors import FgError, FlawError
from fgcli.search import Item, Region, Score
from fgcli.search.candidates import inside, pool, scaled
from fgcli.search.items import items
from fgcli.search.surrogate import Aim, Surrogate

BEST_SHARE = 3
"""One of so many rows that the surrogate learns from is of the best, the others are drawn."""
ELITE = 20
"""The best codes so far, at most, that become parents."""
PART = 64
"""Codes decoded at a time."""


@dataclass(frozen=True)
class Plan:
    """How a search goes; the numbers are those of params.

    Attributes:
        sign: 1 where much is wanted, -1 where little.
    """

    sign: int
    rounds: int
    batch: int
    initial: int
    fitted: int
    pool: int
    generations: int
    invalid: float | None
    seed: int


@dataclass
class Trial:
    """One search of a plan.

    Attributes:
        number: of the trial, by which its draws differ from others'.
        row: of latents.h5 that it starts from, if it starts from one, and `start`, its code (1, l, d).
        model: of the codes. codes: those that trained (n, l, d).
    """

    number: int
    row: int | None
    plan: Plan
    model: Generator
    score: Score
    region: Region
    codes: Codes
    start: Codes | None

    def rounds(self, folder: Path) -> Iterator[dict[str, np.ndarray]]:
        """The candidates of each round, from round 0, what is known first; those in `folder` are read, not asked again.

        Each has `codes`, `measured` (n, m) by the score, `valid`, `predicted` and `deviation` of the value (NaN in
        round 0), `items`, and then `error`, `correlation` and `theta` of the surrogate.

        Raises:
            FgError: the score has no number for a candidate; those before it are kept.
        """
        done: list[dict[str, np.ndarray]] = []
        for number in range(self.plan.rounds + 1):
            file = folder / f"{self.number:04d}-{number:04d}.npz"
            if not file.exists():
                rng = np.random.default_rng((self.plan.seed, self.number, number))
                asked = self.asked(done, rng) if done else self.first(rng)
                save_part(file, asked | self.answers(asked["codes"], file))
            part = load_part(file)
            done.append(part | {"valid": self.valid(part["measured"], done[0] if done else part)})
            yield done[-1]

    def valid(self, measured: np.ndarray, first: dict[str, np.ndarray]) -> np.ndarray:
        """(n) bool of measures (n, m), given round 0."""
        low, high = self.limits(first)
        return ((measured > low) & (measured < high)).all(1) & ~np.isnan(measured[:, 0])

    def limits(self, first: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Of the score, given round 0."""
        return self.score.limits(None if self.start is None else first["measured"][0])

    def first(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Codes of round 0: the start and draws near it, or codes that trained."""
        if self.start is not None:
            values = np.concatenate([self.start.numpy(), inside(self.region, self.plan.initial, rng)])
        else:
            known = self.codes.numpy()
            values = known[np.sort(rng.permutation(len(known))[: self.plan.initial])]
        unknown = np.full(len(values), np.nan)
        return {"codes": values, "predicted": unknown, "deviation": unknown}

    def asked(self, done: list[dict[str, np.ndarray]], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The codes of the next round, and what is believed of them."""
        codes, measured, valid = (
            np.concatenate([part[key] for part in done]) for key in ("codes", "measured", "valid")
        )
        wanted = self.wanted(measured)
        worth = np.where(valid, wanted[:, 0], wanted[:, 0].min())
        aim, rows = Aim(float(worth.max()), *self.limits(done[0])), self.learned(worth, rng)
        surrogate = Surrogate(scaled(codes[rows], self.region), wanted[rows], rng, done[-1].get("theta"))
        elite = codes[np.argsort(-worth, kind="stable")[:ELITE]]
        found = pool(self.region, surrogate, elite, aim, self.plan.pool, self.plan.generations, rng)
        x = scaled(found, self.region)
        chosen = surrogate.batch(x, aim, self.plan.batch)
        predicted, deviation = (belief[:, 0] for belief in surrogate.belief(x[chosen]))
        about = {name: np.array(number) for name, number in surrogate.held_out.items()} | {"theta": surrogate.theta}
        return {"codes": found[chosen], "predicted": self.plan.sign * predicted, "deviation": deviation} | about

    def wanted(self, measured: np.ndarray) -> np.ndarray:
        """Measures (n, m) whose first is to be large; where there is none it is that of params, else the worst."""
        y = measured * np.array([self.plan.sign] + [1] * (measured.shape[1] - 1))
        without = np.isnan(y[:, 0])
        if without.all() and self.plan.invalid is None:
            raise FgError(
                f"optimize.initial: expected a valid one among {len(y)} codes to begin with, found none; raise it or "
                "train the generator for longer"
            )
        y[without, 0] = np.nanmin(y[:, 0]) if self.plan.invalid is None else self.plan.sign * self.plan.invalid
        return y

    def learned(self, worth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Rows that the surrogate learns from: all, or the best ones and some of the others."""
        order, most = np.argsort(-worth, kind="stable"), self.plan.fitted
        top = most // BEST_SHARE
        return (
            order if len(worth) <= most else np.concatenate([order[:top], rng.permutation(order[top:])[: most - top]])
        )

    def answers(self, values: np.ndarray, file: Path) -> dict[str, np.ndarray]:
        """The score of codes (n, l, d); where it ends early, what it said so far is kept beside `file`."""
        found, kept = self.decoded(values), file.with_suffix(".answers.npz")
        start = self.decoded(self.start.numpy())[0] if self.start is not None else None
        said = load_part(kept)["measured"] if kept.exists() else np.zeros((0, len(self.score.names)))
        try:
            while len(said) < len(found):
                part = found[len(said) : len(said) + self.score.at_once]
                said = np.concatenate([said, self.score.measure(part, start)])
        except FlawError as error:
            where = f"candidate {len(said)} of round {int(file.stem[-4:])} of trial {self.number}"
            raise FgError(
                f"optimize.score: {error} for {where}; mend it and run again: {len(said)} answers are kept"
            ) from error
        finally:
            if 0 < len(said) < len(found):
                save_part(kept, {"measured": said})
        return {"measured": said, "items": stacked(found)}

    def decoded(self, values: np.ndarray) -> list[Item]:
        """The items of codes (n, l, d), under the start's condition if there is one."""
        condition = self.start.condition if self.start is not None else None
        if condition is not None:
            condition = condition.expand(len(values), *condition.shape[1:])
        codes = Codes(torch.from_numpy(values), self.codes.space, condition).to(self.model.device)
        return [item for part in codes.split(PART) for item in items(self.model, part)]


def stacked(found: list[Item]) -> np.ndarray:
    """Pictures (n, h, w, 3), or texts (n), "" where there is none."""
    return np.array(["" if item is None else item for item in found])


def summary(part: dict[str, np.ndarray], best: float | None) -> dict[str, Any]:
    """What a round brought: `valid`, a share, `mean` value where there is one, `best` so far, the surrogate's worth."""
    value = part["measured"][:, 0]
    known = value[~np.isnan(value)]
    about: dict[str, Any] = {"candidates": len(value), "valid": float(part["valid"].mean()), "best": best}
    about["mean"] = float(known.mean()) if len(known) else None
    return about | {key: float(part[key]) for key in ("error", "correlation") if key in part}
