"""Edits that are an affine map of the code, one for each of its layers, learned by a loss on codes held out from it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from fgcli.artifacts import verify_arrays
from fgcli.editors import Learns, verify_size
from fgcli.editors.matching import Problem
from fgcli.errors import FgError, FlawError

CONSTANT = 1e-6
"""Spread of a dimension, over the largest one or the largest mean, up to which it is constant."""
SPLITS = 10
"""Random ways of holding out that are tried: few codes that share a combination may all fall into one part."""


@dataclass(frozen=True)
class Frame:
    """Where the map is learned: codes less their middle, over their scale; all (l, d).

    Attributes:
        middle: mean of the codes.
        scale: their standard deviation; 1 where they are constant.
        live: 1 where they are not, else 0.
        moves: (l, 1) 1 in layers that an edit may move, else 0.
    """

    middle: Tensor
    scale: Tensor
    live: Tensor
    moves: Tensor

    @classmethod
    def of(cls, *sides: np.ndarray, layers: Sequence[int] | None = None) -> Frame:
        """That of all codes (n, l, d) of some sides; layer by layer, as they may be many."""
        means, deviations = [], []
        for k in range(sides[0].shape[1]):
            layer = np.concatenate([side[:, k] for side in sides])
            means.append(layer.mean(0, dtype=np.float64))
            deviations.append(layer.std(0, dtype=np.float64))
        middle, spread = np.stack(means), np.stack(deviations)
        live = spread > CONSTANT * np.maximum(spread.max(), np.abs(middle).max())
        moves = np.isin(np.arange(len(middle)), np.arange(len(middle)) if layers is None else layers)[:, None]
        found = middle, np.where(live, spread, 1), live, moves
        return cls(*(torch.from_numpy(a.astype(np.float32)) for a in found))

    @property
    def root(self) -> Tensor:
        """sqrt(d) of each layer (l, 1, 1), d the dimensions that are not constant."""
        return self.live.sum(1).clamp_min(1).sqrt()[:, None, None]

    def inside(self, codes: np.ndarray) -> Tensor:
        """Codes (n, l, d) in the frame."""
        return (torch.from_numpy(codes) - self.middle) / self.scale * self.live

    def outside(self, move: Tensor) -> Tensor:
        """The map (l, d, d + 1) that does to codes what `move` does to them in the frame: b' = s b - W' m."""
        linear = move[..., :-1] * self.scale[:, :, None] / self.scale[:, None, :] / self.root
        moved = self.live * self.moves
        linear = linear * moved[:, :, None] * self.live[:, None, :]
        step = move[..., -1] * self.scale * moved - (linear @ self.middle[..., None])[..., 0]
        return torch.cat([linear, step[..., None]], -1)

    def free(self, x: Tensor) -> Tensor:
        """What an edit may move of codes (n, l, d) of the frame: (n, D)."""
        return x[:, self.moves[:, 0] > 0].flatten(1)

    def back(self, x: Tensor) -> Tensor:
        """The codes (n, l, d) that are `x` in the frame."""
        return x * self.scale + self.middle


class Affine(Learns):
    """z' = z + strength H(z), H affine on each code layer.

    Codes are standardised per dimension first, and W is learned times sqrt(d), as in the equalised layers of the latent
    transformer, so that weights and step sizes mean the same for any generator; dimensions that are constant stay as
    they are. H depends on z, so that strength -1 after +1 is not the way back: it comes to z only to first order in H.

    Attributes:
        maps: (l, d, d + 1) of each attribute.
    """

    def __init__(
        self,
        steps: int = 1000,
        learning_rate: float = 1e-3,
        batch: int = 512,
        held_out: float = 0.25,
        patience: int = 50,
    ) -> None:
        self.steps, self.learning_rate, self.batch, self.patience = steps, learning_rate, batch, patience
        self.held_out = held_out
        self.maps: dict[str, np.ndarray] = {}

    @abstractmethod
    def loss(self, move: Tensor, task: Problem, frame: Frame) -> Tensor:
        """What a map (l, d, d + 1) of codes in the frame is to make small."""

    def start(self, task: Problem, frame: Frame) -> Tensor:
        """The step b (l, d) from which it learns, unless none is better."""
        return torch.zeros_like(frame.middle)

    def fit(self, task: Problem, seed: int) -> dict[str, float]:
        """Learns one attribute; returns the step that was kept and its held-out loss.

        Raises:
            FgError: too few codes to hold some out.
        """
        train, held_out = parts(task, self.held_out, seed)
        if max(len(held_out.source), len(held_out.target)) > self.batch:
            held_out = subset(held_out, self.batch, np.random.default_rng([seed, 1]))
        frame = Frame.of(task.source, task.target, layers=task.layers)
        if not frame.live.any():
            raise FgError(f"attribute {task.attribute}: expected codes that differ, found constant ones; invert again")
        layers, size = frame.scale.shape
        move = torch.zeros(layers, size, size + 1)  # (l, d, d + 1): W, b
        unedited = self.loss(move, held_out, frame).item()
        move[..., -1] = self.start(train, frame)
        best = self.loss(move, held_out, frame).item()
        if best > unedited:
            best, move = unedited, torch.zeros_like(move)
        kept, kept_step = move.clone(), 0
        adam = torch.optim.Adam([move.requires_grad_()], self.learning_rate)
        rng = np.random.default_rng(seed)
        for step in range(1, self.steps + 1):
            adam.zero_grad()
            self.loss(move, subset(train, self.batch, rng), frame).backward()
            adam.step()
            with torch.no_grad():
                value = self.loss(move, held_out, frame).item()
            if value < best:
                best, kept, kept_step = value, move.detach().clone(), step
            elif step - kept_step >= self.patience:
                break
        self.maps[task.attribute] = frame.outside(kept).numpy()
        return {"steps": kept_step, "held_out_loss": best, "held_out_loss_unedited": unedited}

    def edit(self, codes: np.ndarray, attribute: str, strength: float) -> np.ndarray:
        """Edited codes (n, l, d); raises FlawError where they are of another size."""
        verify_size(self.maps[attribute], codes)
        z = torch.from_numpy(np.asarray(codes, np.float32))
        return (z + strength * affine(torch.from_numpy(self.maps[attribute]).float(), z)).numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps."""
        return dict(self.maps)

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """The editor that `arrays` gave; raises FlawError where they are none's."""
        verify_arrays(arrays, dict.fromkeys(arrays, "l d e"))
        for name, move in arrays.items():
            if move.shape[2] != move.shape[1] + 1:
                raise FlawError(f"expected numbers (l, d, d + 1) in {name}, found {move.shape}")
        editor = cls()
        editor.maps = arrays
        return editor


def parts(task: Problem, share: float, seed: int) -> tuple[Problem, Problem]:
    """Random parts to learn from and to be held out, in either of which both sides share a combination.

    Raises:
        FgError: too few codes for it.
    """
    for attempt in range(SPLITS):
        found = task.split(share, [seed, attempt] if attempt else seed)
        if all(part.weights[0].any() for part in found):
            return found
    raise FgError(
        f"attribute {task.attribute}: expected enough faces with and without it to hold out a share of {share}, found "
        f"{len(task.target)} and {len(task.source)}; match fewer attributes or choose mean_difference"
    )


def subset(task: Problem, most: int, rng: np.random.Generator) -> Problem:
    """At most `most` codes of each side; all, should these share no combination."""
    picks = [rng.choice(n, min(n, most), replace=False) for n in (len(task.source), len(task.target))]
    part = task.part(*picks)
    return part if part.weights[0].any() else task


def moved(move: Tensor, x: Tensor, frame: Frame, strength: Tensor | float = 1.0) -> Tensor:
    """Codes (n, l, d) of the frame, edited by a map that is learned there."""
    return x + strength * frame.moves * affine(torch.cat([move[..., :-1] / frame.root, move[..., -1:]], -1), x)


def affine(move: Tensor, z: Tensor) -> Tensor:
    """H(z) = W z + b per layer: (l, d, d + 1), (n, l, d) -> (n, l, d)."""
    return torch.einsum("lij,nlj->nli", move[..., :-1], z) + move[..., -1]
