"""Latent transformer: an affine step after which a judge of codes sees the attribute changed.

Yao, Newson, Gousseau and Hellier, "A Latent Transformer for Disentangled Face Editing in Images and Videos", ICCV 2021;
weights and the rule for strengths are those of the authors' release.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli.config.fields import Count, Part, Positive, Weight
from fgcli.editors.affine import Affine, Frame, moved
from fgcli.editors.matching import Problem


class LatentTransformer(Affine):
    """z' = z + c H(z), with c = -p where the judge's p = P(attribute | z) is above a half, else 1 - p.

        bce(F_k(z'), changed) + near |z' - z|^2 + preserve sum_l (1 - gamma_l)^2 (F_l(z') - F_l(z))^2

    F are the latent judge's logits, gamma_l the absolute correlation of attribute l with k; l = k does not count. Means
    are over codes, dimensions and attributes; of the first, both ways weigh equally. Distances are in deviations of the
    codes. Unlike the release it stops early, by codes held out.

    Args:
        near: weight of the second term; 0 and `preserve` 0 are the paper's LT(-).
        preserve: weight of the third.
        steps: Adam steps at most.
        learning_rate: Adam's.
        batch: codes per side and step at most.
        held_out: share of the codes kept from training, to stop by.
        patience: steps without a better held-out loss after which it stops; the best is kept.
    """

    judged = True

    def __init__(
        self,
        near: Weight = 10.0,
        preserve: Weight = 1.0,
        steps: Count = 1000,
        learning_rate: Positive = 1e-3,
        batch: Count = 512,
        held_out: Part = 0.25,
        patience: Count = 50,
    ) -> None:
        super().__init__(steps, learning_rate, batch, held_out, patience)
        self.near, self.preserve = near, preserve

    def loss(self, move: Tensor, task: Problem, frame: Frame) -> Tensor:
        """All terms, of the codes of both sides."""
        x, witness = torch.cat([frame.inside(task.source), frame.inside(task.target)]), task.witnessed
        with torch.no_grad():
            before = witness.judge(frame.back(x))  # (n, k)
            p = before[:, witness.place].sigmoid()
            having = p > 0.5
        edited = moved(move, x, frame, torch.where(having, -p, 1 - p)[:, None, None])
        after = witness.judge(frame.back(edited))
        share = having.float().mean()
        sides = torch.where(having, 0.5 / share.clamp_min(1e-6), 0.5 / (1 - share).clamp_min(1e-6))  # (n)
        changed = (~having).float()
        total = (sides * F.binary_cross_entropy_with_logits(after[:, witness.place], changed, reduction="none")).mean()
        kept = witness.kept.square() * (after - before).square()
        return total + self.near * (edited - x).square().mean() + self.preserve * kept.mean()
