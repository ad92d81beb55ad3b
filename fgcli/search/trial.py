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
from fgcli.search import Item, Region, Score, Scored
from fgcli.search.candidates import inside, pool, scaled
from fgcli.search.items import items
from fgcli.search.surrogate import Surrogate

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
        folder: of the rounds that are done.
    """

    number: int
    row: int | None
    plan: Plan
    model: Generator
    score: Score
    region: Region
    codes: Codes
    start: Codes | None
    folder: Path

    def rounds(self) -> Iterator[dict[str, np.ndarray]]:
        """The candidates of each round, from round 0, what is known first; done ones are read, not asked again.

        Each has `codes`, `value`, `valid`, `predicted` and `deviation` (NaN in round 0), `items`, `measures/...` and
        `error`, `correlation` of the surrogate.

        Raises:
            FgError: the score has no number for a candidate; those before it are kept.
        """
        done: list[dict[str, np.ndarray]] = []
        for number in range(self.plan.rounds + 1):
            file = self.folder / f"{self.number:04d}-{number:04d}.npz"
            if not file.exists():
                rng = np.random.default_rng((self.plan.seed, self.number, number))
                asked = self.asked(done, rng) if done else self.first(rng)
                save_part(file, asked | self.answers(asked["codes"], file))
            done.append(load_part(file))
            yield done[-1]

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
        codes, value, valid = (np.concatenate([part[key] for part in done]) for key in ("codes", "value", "valid"))
        y = self.wanted(value)
        rows, best = self.learned(y, rng), float(np.max(y[valid], initial=y.min()))
        surrogate = Surrogate(scaled(codes[rows], self.region), y[rows], rng)
        elite = codes[np.argsort(-y, kind="stable")[:ELITE]]
        found = pool(self.region, surrogate, elite, best, self.plan.pool, self.plan.generations, rng)
        x = scaled(found, self.region)
        chosen = surrogate.batch(x, best, self.plan.batch)
        predicted, deviation = surrogate.belief(x[chosen])
        about = {name: np.array(number) for name, number in surrogate.held_out.items()}
        return {"codes": found[chosen], "predicted": self.plan.sign * predicted, "deviation": deviation} | about

    def wanted(self, value: np.ndarray) -> np.ndarray:
        """(n) what is to be large: of candidates that have no value the number of params, else the worst."""
        y = self.plan.sign * value
        if np.isnan(y).all() and self.plan.invalid is None:
            raise FgError(
                f"optimize.initial: expected a valid one of {len(y)} codes to begin with, found none; raise it, or "
                "give the generator more steps"
            )
        worst = np.nanmin(y) if self.plan.invalid is None else self.plan.sign * self.plan.invalid
        return np.where(np.isnan(y), worst, y)

    def learned(self, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Rows that the surrogate learns from: all, or the best ones and some of the others."""
        order, most = np.argsort(-y, kind="stable"), self.plan.fitted
        top = most // BEST_SHARE
        return order if len(y) <= most else np.concatenate([order[:top], rng.permutation(order[top:])[: most - top]])

    def answers(self, values: np.ndarray, file: Path) -> dict[str, np.ndarray]:
        """The score of codes (n, l, d); where it ends early, what it said so far is kept beside `file`."""
        found, kept = self.decoded(values), file.with_suffix(".answers.npz")
        start = self.decoded(self.start.numpy())[0] if self.start is not None else None
        said = load_part(kept) if kept.exists() else {}
        place = len(said.get("value", ()))
        try:
            while place < len(found):
                said = joined(said, self.score(found[place : place + self.score.at_once], start))
                place = len(said["value"])
        except FlawError as error:
            where = f"candidate {place} of round {int(file.stem[-4:])} of trial {self.number}"
            raise FgError(
                f"optimize.score: {error} for {where}; mend it and run again: {place} answers are kept"
            ) from error
        finally:
            if said and len(said["value"]) < len(found):
                save_part(kept, said)
        return said | {"items": stacked(found)}

    def decoded(self, values: np.ndarray) -> list[Item]:
        """The items of codes (n, l, d), under the start's condition if there is one."""
        condition = self.start.condition if self.start is not None else None
        if condition is not None:
            condition = condition.expand(len(values), *condition.shape[1:])
        codes = Codes(torch.from_numpy(values), self.codes.space, condition).to(self.model.device)
        return [item for part in codes.split(PART) for item in items(self.model, part)]


def joined(said: dict[str, np.ndarray], more: Scored) -> dict[str, np.ndarray]:
    """Answers, and those after them."""
    new = {"value": more.values, "valid": more.valid} | {f"measures/{k}": v for k, v in more.measures.items()}
    return {key: np.concatenate([said[key], value]) if said else value for key, value in new.items()}


def stacked(found: list[Item]) -> np.ndarray:
    """Pictures (n, h, w, 3), or texts (n), "" where there is none."""
    return np.array(["" if item is None else item for item in found])


def summary(part: dict[str, np.ndarray], best: float | None) -> dict[str, Any]:
    """What a round brought: `valid`, a share, `mean` value of those that have one, `best` so far, the surrogate."""
    known = part["value"][~np.isnan(part["value"])]
    about: dict[str, Any] = {"candidates": len(part["value"]), "valid": float(part["valid"].mean()), "best": best}
    about["mean"] = float(known.mean()) if len(known) else None
    return about | {key: float(part[key]) for key in ("error", "correlation") if key in part}
