"""Latent Wasserstein: an affine step whose edited codes are transported to those with the attribute.

Doubinsky, Audebert, Crucianu and Le Borgne, "Wasserstein Loss for Semantic Editing in the Latent Space of GANs",
sections 3.2 and 3.3, stopped early on held-out codes (section 4.1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fgcli.config.fields import Count, Part, Positive, Weight
from fgcli.editors.affine import Affine, Frame, moved
from fgcli.editors.matching import Problem


class LatentWasserstein(Affine):
    """A Sinkhorn divergence of cost |x - y|^2 / 2 (Eq. 4), and one that keeps the other attributes (Eq. 5):

        W(edited source, target; codes) + preserve W(edited source, source; f),  f_l(z) = sqrt(1 - gamma_l) F_l(z)

    over the dimensions of the codes and the sum of 1 - gamma. F are the latent judge's logits, of deviation 1 over the
    training codes (in the paper as they are, so that the weight hangs on how sure a judge is), and gamma_l the absolute
    correlation of attribute l with the edited one, which itself does not count.

    Args:
        match: attributes whose combinations weigh equally on both sides; None for those that the training rows suggest
            (see choice.matched).
        preserve: weight of the second term, which needs judges of codes; 0 is the core method, 1 the paper's.
        preserve_of: the weight for some attributes, by name; in the paper 15 for glasses.
        steps: Adam steps at most.
        learning_rate: Adam's; 1e-3 in the paper.
        batch: codes per side and step at most: so many codes take batch^2 numbers of memory, whatever their number.
        blur: entropic scale, as a fraction of the root mean squared distance of two codes, sqrt(2 D).
        held_out: share of the codes kept from training, to stop by.
        patience: steps without a better held-out loss after which it stops; the best is kept.
    """

    def __init__(
        self,
        match: list[str] | None = None,
        preserve: Weight = 0.0,
        preserve_of: dict[str, Weight] | None = None,
        steps: Count = 1000,
        learning_rate: Positive = 1e-3,
        batch: Count = 512,
        blur: Positive = 0.05,
        held_out: Part = 0.25,
        patience: Count = 50,
    ) -> None:
        super().__init__(steps, learning_rate, batch, held_out, patience)
        self.match, self.blur, self.preserve, self.preserve_of = match, blur, preserve, preserve_of or {}
        self.judged = bool(preserve) or any(self.preserve_of.values())

    def start(self, task: Problem, frame: Frame) -> Tensor:
        """The step (l, d) between the means: the shift that makes the sides nearest in the 2-Wasserstein distance."""
        a, b = (torch.from_numpy(w).float() for w in task.weights)
        means = [torch.einsum("n,nld->ld", w, frame.inside(x)) for w, x in ((a, task.source), (b, task.target))]
        return frame.moves * (means[1] - means[0])

    def loss(self, move: Tensor, task: Problem, frame: Frame) -> Tensor:
        """Both terms, of codes of `task` in the frame."""
        x, y = frame.inside(task.source), frame.inside(task.target)
        edited, size = moved(move, x, frame), int((frame.live * frame.moves).sum())
        a, b = (torch.from_numpy(w).float() for w in task.weights)
        total = self.divergence(size, a, frame.free(edited), b, frame.free(y)) / size
        weight = self.preserve_of.get(task.attribute, self.preserve)
        if not weight:
            return total
        witness = task.witnessed
        with torch.no_grad():
            before = witness.features(frame.back(x))
        after = witness.features(frame.back(edited))
        dimensions = float(witness.kept.sum().clamp_min(1e-6))
        return total + weight * self.divergence(dimensions, a, after, a, before) / dimensions

    def divergence(self, size: float, a: Tensor, x: Tensor, b: Tensor, y: Tensor) -> Tensor:
        """The Sinkhorn divergence of points (n, D) of weights (n), of whose D dimensions `size` are of variance 1."""
        from geomloss import SamplesLoss

        divergence = SamplesLoss("sinkhorn", p=2, blur=self.blur * (2 * size) ** 0.5, backend="tensorized")
        return divergence(a, x, b, y)
