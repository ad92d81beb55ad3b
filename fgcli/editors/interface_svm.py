"""InterFaceGAN: the normal of a plane between the codes with an attribute and those without it.

Shen, Gu, Tang and Zhou, "Interpreting the Latent Space of GANs for Semantic Face Editing", CVPR 2020.
"""

from __future__ import annotations

import numpy as np

from fgcli.config.fields import Positive
from fgcli.editors import Learns
from fgcli.editors.affine import Frame
from fgcli.editors.directions import Directions
from fgcli.editors.matching import Problem

SMALLEST = 1e-3
"""Length that is left of a unit normal, below which others explain all of it."""


class InterfaceSVM(Directions, Learns):
    """z' = z + strength v, v the normal of a linear support vector machine on standardised codes.

    With `match` it is conditional (section 3.3): what of the normal lies along the normals of those attributes is taken
    away. The paper's step is of length 1; here strength 1 is the way between the mean codes of either side along v.

    Args:
        match: attributes that the edit is to leave; empty for the plain normal, None for those that the training rows
            suggest (see choice.matched).
        c: the machine's penalty on codes of the wrong side, over their number.
    """

    def __init__(self, match: list[str] | None = None, c: Positive = 1.0) -> None:
        super().__init__()
        self.match, self.c = match, c

    def fit(self, task: Problem, seed: int) -> dict[str, float]:
        """Learns one attribute; returns the step's length, and the share of the normal that was not taken away."""
        frame = Frame.of(task.source, task.target)
        x = np.concatenate([frame.inside(side).flatten(1).numpy() for side in (task.source, task.target)])
        sides = np.repeat([0, 1], [len(task.source), len(task.target)])
        own = self.normal(x, sides, seed)
        groups = np.concatenate([task.source_groups, task.target_groups])  # (n, m)
        others = [self.normal(x[g >= 0], g[g >= 0], seed) for g in groups.T if len(set(g[g >= 0].tolist())) == 2]
        left = own
        if others:
            basis, _ = np.linalg.qr(np.stack(others, 1))  # (D, m)
            left = own - basis @ (basis.T @ own)
        share = float(np.linalg.norm(left))
        unit = left / max(share, SMALLEST)
        along = x @ unit
        step = (along[sides == 1].mean() - along[sides == 0].mean()) * unit
        direction = step.reshape(frame.scale.shape) * (frame.scale * frame.live).numpy()
        self.directions[task.attribute] = direction.astype(np.float32)
        return {"length": float(np.linalg.norm(direction)), "left": share}

    def normal(self, x: np.ndarray, sides: np.ndarray, seed: int) -> np.ndarray:
        """The unit normal (D,) of the plane between codes (n, D) of sides (n,) 0 and 1, both weighing equally."""
        from sklearn.svm import LinearSVC

        settings = {"class_weight": "balanced", "dual": "auto", "max_iter": 5000, "random_state": seed % 2**32}
        found = LinearSVC(C=self.c / len(x), **settings).fit(x, sides).coef_[0]
        return found / np.linalg.norm(found)
