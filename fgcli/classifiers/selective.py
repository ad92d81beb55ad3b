"""Selective classification: the nearest component's class, or none for what is unlikely (Ghosh's thesis, 4.6, 4.7)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import chi2
from torch import Tensor

from fgcli.capabilities import Classifies
from fgcli.codes import Codes, decode
from fgcli.pixels import squared_error

CONFIDENCE = 0.9973
"""Share of a class that its thresholds keep: the 3 sigma rule of one dimension."""


@dataclass(frozen=True)
class Decision:
    """What was decided about n images.

    Attributes:
        predicted: (n) class of the nearest component.
        distance: (n) squared Mahalanobis distance to it.
        error: (n) squared error of the reconstruction: sum over pixels in [0, 1] of the mean over channels.
        far: (n) whether the distance exceeds its threshold.
        unlike: (n) whether the error exceeds that of the class.
    """

    predicted: Tensor
    distance: Tensor
    error: Tensor
    far: Tensor
    unlike: Tensor

    @property
    def accepted(self) -> Tensor:
        """(n) whether neither threshold is exceeded."""
        return ~(self.far | self.unlike)

    def at(self, rows: Any) -> Decision:
        """Those about some of the images."""
        return Decision(*(value[rows] for value in vars(self).values()))

    def cpu(self) -> Decision:
        """The same on the CPU."""
        return Decision(*(value.cpu() for value in vars(self).values()))

    @classmethod
    def joined(cls, parts: Sequence[Decision]) -> Decision:
        """Those about several batches, as one."""
        return cls(*map(torch.cat, zip(*(vars(part).values() for part in parts), strict=True)))


class SelectiveClassifier:
    """A generator that classifies, with the two thresholds beyond which it refuses to.

    Args:
        model: a generator that classifies, in eval mode.
        latent: largest squared Mahalanobis distance, tau_enc.
        reconstruction: (classes) largest squared error of an image of each class, tau_dec.
        batch: images in memory at a time.
        behind: (classes) number of images that each tau_dec was taken from; none where it was given.
    """

    def __init__(
        self, model: Classifies, latent: float, reconstruction: Tensor, batch: int = 256, behind: Sequence[int] = ()
    ) -> None:
        self.model, self.behind = model, list(behind)
        self.latent, self.reconstruction, self.batch = latent, reconstruction.to(model.means.device), batch

    @classmethod
    def calibrated(
        cls,
        model: Classifies,
        images: Tensor,
        labels: Tensor,
        confidence: float = CONFIDENCE,
        batch: int = 256,
        code_share: float = 0.0,
    ) -> SelectiveClassifier:
        """With thresholds that keep `confidence` of clean held-out images (n, c, h, w) in [-1, 1].

        tau_enc is the chi-square quantile for the code's size, or with `code_share` the least distance that keeps so
        many of the images that are rightly classified. tau_dec of a class is the least error that keeps the share of
        the images that are rightly taken for it, or of all that are rightly classified where none is. Of
        n < 1 / (1 - confidence) that is the largest, which keeps n / (n + 1) of new ones on average. Images beyond
        tau_enc do not count: they are rejected anyhow, and one of them would open the second threshold far.

        Args:
            model: as for the class.
            images: of the validation split.
            labels: their classes (n); -1 where unknown, and then what is predicted counts as right.
            confidence: share kept.
            batch: images in memory at a time.
            code_share: of the images that tau_enc keeps; 0 for the chi-square quantile.

        Raises:
            ValueError: no image is rightly classified.
        """
        blank = cls(model, torch.inf, torch.full((len(model.means),), torch.inf), batch)
        found = blank.decide(images)
        right = (found.predicted == labels) | (labels < 0)
        latent = float(chi2.ppf(confidence, model.code_shape[1]))
        if code_share and right.any():
            latent = least_keeping(found.distance[right], code_share).item()
        right &= found.distance <= latent
        if not right.any():
            raise ValueError("expected held-out images that are rightly classified with a likely code, found none")
        own = [found.error[right & (found.predicted == c)] for c in range(len(model.means))]
        errors = [e if len(e) else found.error[right] for e in own]
        kept = [least_keeping(e, confidence) for e in errors]
        return cls(model, latent, torch.stack(kept), batch, [len(e) for e in errors])

    def measure(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Codes f(x) (n, 1, d) of images in [-1, 1], and squared errors (n) of g(f(x)); differentiable."""
        codes = self.model.encode(images)
        return codes, self.error(images, codes)

    def error(self, images: Tensor, codes: Tensor) -> Tensor:
        """|x - g(z)|^2 (n) in [0, 1]."""
        return squared_error((images + 1) / 2, (decode(self.model, Codes(codes, self.model.space)) + 1) / 2)

    def judge(self, codes: Tensor, error: Tensor) -> Decision:
        """The decision that codes (n, 1, d) and errors (n) lead to."""
        predicted, distance = self.model.classify(codes)
        return Decision(predicted, distance, error, distance > self.latent, error > self.reconstruction[predicted])

    @torch.no_grad()
    def decide(self, images: Tensor) -> Decision:
        """Classifies images in [-1, 1], and rejects those beyond a threshold."""
        return self._in_parts(images, lambda x: self.judge(*self.measure(x)))

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """g(f(x)) of images (n, c, h, w) in [-1, 1]."""
        return decode(self.model, Codes(self.model.encode(images.to(self.model.means.device)), self.model.space))

    def reclassify(self, images: Tensor, steps: int, learning_rate: float) -> Decision:
        """Classifies images by z* = argmin_z |g(z) - x|^2 (Eq. 4.8), without the encoder.

        Adam starts at every component's mean and the best z is kept. Where fooling images are not expected its
        class is the answer; where they are, `accepted` tells whether z* passes both thresholds (section 4.7).

        Args:
            images: (n, c, h, w) in [-1, 1].
            steps: of Adam.
            learning_rate: in units of the code.
        """
        return self._in_parts(images, lambda x: self.judge(*self._closest(x, steps, learning_rate)))

    def _closest(self, x: Tensor, steps: int, learning_rate: float) -> tuple[Tensor, Tensor]:
        k = len(self.model.means)
        z = self.model.means.repeat(len(x), 1)[:, None].clone().requires_grad_()  # (n k, 1, d)
        wanted = x.repeat_interleave(k, 0)
        optimizer = torch.optim.Adam([z], learning_rate)
        for _ in range(steps):
            (z.grad,) = torch.autograd.grad(self.error(wanted, z).sum(), z)
            optimizer.step()
        with torch.no_grad():
            errors, best = self.error(wanted, z).view(-1, k).min(1)
            return z.detach().view(-1, k, *z.shape[1:])[torch.arange(len(x)), best], errors

    def _in_parts(self, images: Tensor, decide: Callable[[Tensor], Decision]) -> Decision:
        return Decision.joined([decide(x.to(self.model.means.device)) for x in images.split(self.batch)]).cpu()

    def score(self, decision: Decision) -> Tensor:
        """(n) how near the decisions are to rejection: 1 at the first threshold that is met, 0 at neither."""
        return torch.maximum(
            decision.distance / self.latent, decision.error / self.reconstruction.cpu()[decision.predicted]
        )


def least_keeping(values: Tensor, share: float) -> Tensor:
    """The ceil(share n)-th smallest of n values: the least of them that so many do not exceed.

    A quantile between two of them would be exceeded by more: interpolated, it keeps n - 1 of n < 1 / (1 - share).
    """
    kept = math.ceil(round(share * len(values), 9))  # 0.07 * 100 is 7.000000000000001
    return values.kthvalue(kept).values


def risk_coverage(score: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and risk when the images of the lowest scores are accepted, for 1 to n of them.

    coverage_i = i / n, risk_i = share of wrong ones among the i of the lowest score (El-Yaniv and Wiener 2010).

    Args:
        score: (n), low for what is accepted first.
        correct: (n) bool.
    """
    order = np.argsort(score, kind="stable")
    accepted = np.arange(1, len(order) + 1)
    return accepted / len(order), np.cumsum(~correct[order]) / accepted
