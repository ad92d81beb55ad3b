"""Judges: what says which attributes a face, or a code, has. They tell what an edit changed.

A judge is a network whose answers are logits, and a line for each attribute that makes probabilities of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgcli import artifacts, config
from fgcli.artifacts import Artifact
from fgcli.classifiers import JUDGES
from fgcli.errors import FgError
from fgcli.intervals import precision_interval
from fgcli.pixels import tensor

ROWS = 256
"""Pictures or codes in memory at once."""
SCALABLE = 10
"""Held-out rows with an attribute, and without it, below which only the offset of its logits is set."""


class Judge(nn.Module):
    """Logits of k attributes, and what makes probabilities of them: p = sigmoid(scale logit + shift).

    Args:
        attributes: k.

    Attributes:
        scale: (k). shift: (k).
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, attributes: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(attributes))
        self.register_buffer("shift", torch.zeros(attributes))

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """(n, k) of pictures (n, 3, h, w) in [-1, 1], or codes (n, l, d), of a size that is its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Calibrated logits (n, k) of pictures in [-1, 1] of any size, or codes; differentiable."""
        return self.scale * self.logits(x).float() + self.shift

    @torch.no_grad()
    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """(n, k) float32 of uint8 pictures (n, h, w, 3), or float32 codes (n, l, d); in eval mode only."""
        found = [np.zeros((0, len(self.scale)), np.float32)]
        for i in range(0, len(rows), ROWS):
            part = rows[i : i + ROWS]
            x = tensor(part) if part.dtype == np.uint8 else torch.from_numpy(np.array(part))
            found.append(self(x.to(self.scale.device)).sigmoid().cpu().numpy())
        return np.concatenate(found)

    def calibrate(self, logits: np.ndarray, labels: np.ndarray, odds: np.ndarray) -> None:
        """Platt's line (1999) for each attribute, by held-out rows.

        Training that weighs both sides equally moves logits by -log(odds). Where few held-out rows are known just that
        is undone.

        Args:
            logits: (n, k). labels: (n, k) in {-1, 0, 1}.
            odds: (k) training rows with an attribute over those without.
        """
        from sklearn.linear_model import LogisticRegression

        for i, offset in enumerate(np.log(odds)):
            known = labels[:, i] >= 0
            y = labels[known, i]
            line = 1.0, float(offset)
            if min(y.sum(), (1 - y).sum()) >= SCALABLE:
                fitted = LogisticRegression(C=1.0).fit(logits[known, i : i + 1], y)
                line = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
            self.scale[i], self.shift[i] = line


class ImageJudge(Judge):
    """A judge of pictures, which it resizes to those that it has learned from.

    Args:
        attributes: k.
        side: of its pictures, px.
    """

    def __init__(self, attributes: int, side: int) -> None:
        super().__init__(attributes)
        self.side = side

    def logits(self, x: Tensor) -> Tensor:
        """(n, k) of pictures (n, 3, h, w) in [-1, 1]."""
        if x.shape[2:] != (self.side, self.side):
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", antialias=True)
        return self.answer(x)

    @abstractmethod
    def answer(self, x: Tensor) -> Tensor:
        """(n, k) of pictures (n, 3, side, side)."""


class LatentJudge(Judge):
    """A judge of codes (n, l, d): one hidden layer.

    Args:
        attributes: k.
        codes: numbers of a code, l d.
        hidden: units.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, attributes: int, codes: int, hidden: int) -> None:
        super().__init__(attributes)
        self.register_buffer("mean", torch.zeros(codes))
        self.register_buffer("deviation", torch.ones(codes))
        self.net = nn.Sequential(nn.Linear(codes, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, attributes))

    def standardise(self, codes: np.ndarray) -> None:
        """Takes the mean and deviation of codes (n, l, d) for those of its inputs."""
        flat = codes.reshape(len(codes), -1)
        self.mean.copy_(torch.from_numpy(flat.mean(0)))
        spread = flat.std(0)
        self.deviation.copy_(torch.from_numpy(np.where(spread > 1e-6 * spread.max(), spread, 1)))

    def logits(self, x: Tensor) -> Tensor:
        """(n, k) of codes (n, l, d)."""
        return self.net((x.flatten(1) - self.mean) / self.deviation)


@dataclass(frozen=True)
class Judges:
    """The judges of one file.

    Attributes:
        names: of the k attributes.
        images: judges pictures.
        codes: judges codes of `generator`, if it was trained on some.
        generator: sha256 of the generator of the codes.
        held_out: what each judge is worth on held-out rows, by name and attribute.
    """

    names: list[str]
    images: ImageJudge
    codes: LatentJudge | None
    generator: str | None
    held_out: Mapping[str, Any]


def load(path: Path) -> Judges:
    """The judges of judges.h5, on the CPU, in eval mode, without gradients.

    Raises:
        FgError: not a judges' file, or weights that are not theirs.
    """
    stored = artifacts.load(path, artifacts.JUDGES)
    names, build = stored.meta["attributes"], stored.meta["build"]
    images = image_judge(build["network"], len(names), build["side"], str(path))
    fill(images, stored, "images")
    codes = None
    if "codes" in build:
        codes = LatentJudge(len(names), build["codes"], build["hidden"])
        fill(codes, stored, "codes")
    return Judges(names, images, codes, stored.meta.get("generator"), stored.meta["held_out"])


def image_judge(spec: Mapping[str, Any], attributes: int, side: int, path: str) -> ImageJudge:
    """The judge of pictures that `spec` describes."""
    judge: ImageJudge = config.build(JUDGES, spec, path, attributes=attributes, side=side)
    return judge


def fill(judge: Judge, stored: Artifact, name: str) -> None:
    """Gives a judge its weights, and makes it ready."""
    state = stored.group(f"weights/{name}")
    with artifacts.blamed(stored.path):
        artifacts.verify_state(state, {k: v.shape for k, v in judge.state_dict().items()})
    judge.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    judge.eval().requires_grad_(False)


def known_to(judges: Judges, names: list[str], path: Path) -> list[int]:
    """The place of each attribute among the judges'.

    Raises:
        FgError: one that they do not judge.
    """
    for name in names:
        if name not in judges.names:
            raise FgError(
                f"{path}: expected judges of {name}, found those of {', '.join(judges.names)}; run fg judges on faces "
                "with that attribute"
            )
    return [judges.names.index(name) for name in names]


def worth(
    names: Sequence[str], said: np.ndarray, labels: np.ndarray, people: np.ndarray
) -> dict[str, dict[str, float]]:
    """What answers are worth where both sides of an attribute are known: average precision, its interval, floor, error.

    Of one person there is no interval.

    Args:
        names: of k attributes.
        said: (n, k), above a half what is taken for 1.
        labels: (n, k) in {-1, 0, 1}.
        people: (n).
    """
    found = {}
    for name, p, y in zip(names, said.T, labels.T, strict=True):
        known = y >= 0
        p, y = p[known], y[known]
        if len(set(y.tolist())) < 2:
            continue
        value, low, high = precision_interval(p, y, people[known])
        over = {"low": low, "high": high} if len(set(people[known].tolist())) > 1 else {}
        about = {"average_precision": value, **over, "floor": float(y.mean())}
        found[name] = about | {"error": float(((p > 0.5) != y).mean()), "rows": len(y)}
    return found
