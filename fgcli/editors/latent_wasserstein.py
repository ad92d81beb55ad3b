"""Latent Wasserstein: an affine step whose edited codes are transported to those with the attribute.

Doubinsky, Audebert, Crucianu and Le Borgne, "Wasserstein Loss for Semantic Editing in the Latent Space of GANs",
core method (section 3.2), cost and loss of Eq. 4, stopped early on held-out codes (section 4.1).
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor

from fgcli.editors import Editor
from fgcli.editors.matching import Problem
from fgcli.errors import FgError


class LatentWasserstein(Editor):
    """z' = z + strength H(z), H affine on each code layer, learned by a Sinkhorn divergence of cost |x - y|^2 / 2.

    Codes are standardised per dimension first, and W is learned times sqrt(d), as in the equalised layers of the latent
    transformer, so that `blur` and the step size mean the same for any generator.

    Args:
        match: attributes whose combinations weigh equally on both sides.
        steps: Adam steps at most.
        learning_rate: Adam's; 1e-3 in the paper.
        batch: codes per side and step at most.
        blur: entropic scale, as a fraction of the root mean squared distance of two codes, sqrt(2 D).
        held_out: share of the codes kept from training, to stop by.
        patience: steps without a better held-out loss after which it stops; the best is kept.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        match: tuple[str, ...] | list[str] = (),
        steps: int = 1000,
        learning_rate: float = 1e-3,
        batch: int = 512,
        blur: float = 0.05,
        held_out: float = 0.25,
        patience: int = 50,
    ) -> None:
        if min(steps, batch, patience) < 1 or min(learning_rate, blur) <= 0 or not 0 < held_out < 1:
            raise ValueError("latent_wasserstein expects positive arguments, and held_out below 1")
        self.match = tuple(match)
        self.steps, self.learning_rate, self.batch, self.patience = steps, learning_rate, batch, patience
        self.blur, self.held_out = blur, held_out
        self.maps: dict[str, np.ndarray] = {}

    def fit(self, task: Problem, seed: int) -> dict[str, float]:
        """Learns one attribute; returns the step that was kept and its held-out loss.

        Raises:
            FgError: too few codes to hold some out.
        """
        train, held_out = task.split(self.held_out, seed)
        if not (train.weights[0].any() and held_out.weights[0].any()):
            raise FgError(
                f"attribute {task.attribute}: expected enough faces with and without it to hold out a share of "
                f"{self.held_out}, found {len(task.target)} and {len(task.source)}; choose mean_difference"
            )
        both = np.concatenate([task.source, task.target])
        scale = torch.from_numpy(np.maximum(both.std(0), 1e-6))
        move = torch.zeros(*both.shape[1:], both.shape[2] + 1, requires_grad=True)  # (l, d, d + 1): W, b
        adam = torch.optim.Adam([move], self.learning_rate)
        rng = np.random.default_rng(seed)
        best, kept, kept_step = self.loss(move, held_out, scale).item(), move.detach().clone(), 0
        first = best
        for step in range(1, self.steps + 1):
            adam.zero_grad()
            self.loss(move, self.subset(train, rng), scale).backward()
            adam.step()
            with torch.no_grad():
                value = self.loss(move, held_out, scale).item()
            if value < best:
                best, kept, kept_step = value, move.detach().clone(), step
            elif step - kept_step >= self.patience:
                break
        kept[..., :-1] *= scale[:, :, None] / scale[:, None, :] / scale.shape[1] ** 0.5
        kept[..., -1] *= scale
        self.maps[task.attribute] = kept.numpy()
        return {"steps": kept_step, "held_out_loss": best, "held_out_loss_unedited": first}

    def loss(self, move: Tensor, task: Problem, scale: Tensor) -> Tensor:
        """Sinkhorn divergence of the edited source and the target, per dimension."""
        from geomloss import SamplesLoss

        x, y = torch.from_numpy(task.source) / scale, torch.from_numpy(task.target) / scale
        equal = torch.cat([move[..., :-1] / x.shape[2] ** 0.5, move[..., -1:]], -1)
        edited = (x + affine(equal, x)).flatten(1)
        size = edited.shape[1]
        divergence = SamplesLoss("sinkhorn", p=2, blur=self.blur * (2 * size) ** 0.5, backend="tensorized")
        a, b = (torch.from_numpy(w).float() for w in task.weights)
        return divergence(a, edited, b, y.flatten(1)) / size

    def subset(self, task: Problem, rng: np.random.Generator) -> Problem:
        """At most `batch` codes of each side."""
        picks = [rng.choice(n, min(n, self.batch), replace=False) for n in (len(task.source), len(task.target))]
        part = task.part(*picks)
        return part if part.weights[0].any() else task

    def edit(self, codes: np.ndarray, attribute: str, strength: float) -> np.ndarray:
        """Edited codes (n, l, d)."""
        z = torch.from_numpy(np.asarray(codes, np.float32))
        return (z + strength * affine(torch.from_numpy(self.maps[attribute]), z)).numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps."""
        return dict(self.maps)

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """The editor that `arrays` gave."""
        editor = cls()
        editor.maps = arrays
        return editor


def affine(move: Tensor, z: Tensor) -> Tensor:
    """H(z) = W z + b per layer: (l, d, d + 1), (n, l, d) -> (n, l, d)."""
    return torch.einsum("lij,nlj->nli", move[..., :-1], z) + move[..., -1]
