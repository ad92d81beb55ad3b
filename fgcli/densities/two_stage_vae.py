"""A second VAE, over the codes of the first (Dai and Wipf 2019, "Diagnosing and Enhancing VAE Models")."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fgcli.artifacts import verify_arrays, verify_state
from fgcli.config.fields import Count, CountOrNone, Positive, Weight, Width
from fgcli.densities import Density
from fgcli.densities.mixture import CONSTANT, standardize
from fgcli.errors import FgError, FlawError

if TYPE_CHECKING:
    import torch

UNITS = 1024
"""Units of a dense layer at width 1 (the thesis's experiments)."""
HIGHEST = 0.25
"""gamma^2 while training, at most: from 1, the variance of the codes themselves, it would never leave the collapse of
the posterior onto the prior, where the decoder is constant."""
DRAWS, DRAWS_SEED = 64, 0
"""Draws behind `log_prob`, the same for every code and every call."""
ROWS = 256
"""Codes in memory at once, times DRAWS."""


class TwoStageVAE(Density):
    """VAE on the standardised codes, its latent u of their size; what does not vary is left out of it.

        z | u ~ N(f(u), gamma^2 I),   u ~ N(0, I),   u | z ~ N(m(z), s(z)^2 I)

    A sample is f(u) and noise of gamma, as in Dai and Wipf's code: their theory wants the noise, however small.
    gamma is what they learn: here it is solved, since the bound is highest where gamma^2 is the mean squared
    residual (Rybkin et al. 2021), and Adam's 1e-4 would take 10^4 steps to get there.

    Args:
        width: factor on the 1024 units of the two ReLU layers of each side.
        beta: weight of the KL divergence against the sum of squared errors: this says gamma^2 = beta / 2. 0 solves
            gamma. The thesis's experiments: 1.5e-3 (MNIST), 1e-3 (CIFAR-10), 2e-3 (CelebA).
        regularize: added to gamma^2; the variance, of standardised codes, below which they are not resolved.
        learning_rate: Adam's step size; halved when 3 epochs bring no better held-out bound.
        batch: codes per step.
        epochs: over the codes, at most.
    """

    score = "log_likelihood_at_least"

    def __init__(
        self,
        width: Width = 1.0,
        beta: Weight = 0.0,
        regularize: Positive = 1e-6,
        learning_rate: Positive = 1e-4,
        batch: Count = 64,
        epochs: CountOrNone = 100,
    ) -> None:
        self.units, self.beta, self.regularize = max(8, round(width * UNITS)), beta, regularize
        self.learning_rate, self.batch, self.epochs = learning_rate, batch, epochs

    def fit(self, codes: np.ndarray, seed: int) -> Self:
        """The bound's maximum over the codes (n, l, d); a tenth of them chooses the epoch.

        Raises:
            FgError: codes that are all equal, or a bound that is not finite.
        """
        import torch

        from fgcli.densities.descent import descend

        x, self.center, self.scale = standardize(codes)
        self.varies = codes.reshape(len(codes), -1).std(0, dtype=np.float64) > CONSTANT
        size = int(self.varies.sum())
        if not size:
            raise FgError(
                f"two_stage_vae: expected codes that vary, found {len(x)} equal ones; train the generator again"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = networks(size, self.units)

        def loss(rows: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
            mean, sd = self.encode(rows)
            u = mean + sd * torch.randn(mean.shape, generator=rng)
            error = (rows - self.net["decoder"](u)).square().sum(1).mean()
            gamma2 = self.noise(min(float(error.detach()) / size, HIGHEST))
            divergence = 0.5 * (mean.square() + sd.square() - 1).sum(1).mean() - sd.log().sum(1).mean()
            return 0.5 * (error / gamma2 + size * math.log(2 * math.pi * gamma2)) + divergence

        x = x[:, self.varies].astype(np.float32)
        descend(self.net, loss, x, rate=self.learning_rate, batch=self.batch, epochs=self.epochs, seed=seed,
                name="two_stage_vae")  # fmt: skip
        with torch.no_grad():
            rows = torch.from_numpy(x)
            mean, sd = self.encode(rows)
            u = mean + sd * torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
            self.gamma2 = self.noise(float((rows - self.net["decoder"](u)).square().mean()))
        return self

    def noise(self, error: float) -> float:
        """gamma^2: given by beta, or the mean squared residual, at which the bound is highest."""
        return (self.beta / 2 if self.beta else error) + self.regularize

    def encode(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation (m, D) of u given rows (m, D); the deviation lies in e^-5 to e^5."""
        mean, log_sd = self.net["encoder"](rows).chunk(2, 1)
        return mean, (5 * (log_sd / 5).tanh()).exp()

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n codes (n, l, d), float32: f(u) + gamma e; what does not vary gets the noise of `regularize` alone."""
        import torch

        u = torch.from_numpy(rng.standard_normal((n, int(self.varies.sum()))).astype(np.float32))
        x = rng.standard_normal((n, len(self.varies))) * np.sqrt(np.where(self.varies, self.gamma2, self.regularize))
        with torch.no_grad():
            x[:, self.varies] += self.net["decoder"](u).numpy()
        return (x.reshape(n, *self.center.shape) * self.scale + self.center).astype(np.float32)

    def log_prob(self, codes: np.ndarray) -> np.ndarray:
        """A lower estimate of log p (n,) in nats: the importance-weighted bound (Burda et al. 2016) of K = 64 draws,

            log p(z) >= E log 1/K sum_k p(z | u_k) p(u_k) / q(u_k | z),   u_k ~ q(u | z).

        The truth has no closed form: do not compare it with the exact values of other densities without saying so.
        The draws are the same for every code and every call.
        """
        import torch

        x = ((codes - self.center) / self.scale).reshape(len(codes), -1)
        still = np.square(x[:, ~self.varies]) / self.regularize + np.log(2 * np.pi * self.regularize)
        rows = torch.from_numpy(x[:, self.varies]).float()
        bounds = [self.bound(part).double().numpy() for part in rows.split(ROWS)]
        return np.concatenate(bounds) - 0.5 * still.sum(1) - np.log(self.scale).sum()

    def bound(self, rows: torch.Tensor) -> torch.Tensor:
        """The bound (m,) of standardised rows (m, D)."""
        import torch

        size = rows.shape[1]
        e = torch.randn((DRAWS, 1, size), generator=torch.Generator().manual_seed(DRAWS_SEED))
        with torch.no_grad():
            mean, sd = self.encode(rows)
            u = mean + sd * e
            error = (rows - self.net["decoder"](u)).square().sum(2)
            likelihood = -0.5 * (error / self.gamma2 + size * math.log(2 * math.pi * self.gamma2))
            ratio = sd.log().sum(1) + 0.5 * (e.square() - u.square()).sum(2)  # log p(u) / q(u | z)
            return torch.logsumexp(likelihood + ratio, 0) - math.log(DRAWS)

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps."""
        kept = {"center": self.center, "scale": self.scale, "varies": self.varies, "gamma2": self.gamma2}
        kept |= {"regularize": self.regularize} | {f"net/{k}": v for k, v in self.net.state_dict().items()}
        return {k: np.asarray(v) for k, v in kept.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """The density that `arrays` gave; raises FlawError where they are none's."""
        import torch

        axes = {"center": "l d", "scale": "l d", "varies": "x", "net/encoder.0.bias": "u"}
        verify_arrays(arrays, axes | dict.fromkeys(("regularize", "gamma2"), ""))
        if arrays["varies"].shape != (arrays["center"].size,):
            raise FlawError(f"expected {arrays['center'].size} values in varies, found {len(arrays['varies'])}")
        density = cls(regularize=float(arrays["regularize"]))
        density.center, density.scale = arrays["center"], arrays["scale"]
        density.varies, density.gamma2 = arrays["varies"].astype(bool), float(arrays["gamma2"])
        state = {k[4:]: v for k, v in arrays.items() if k.startswith("net/")}
        density.net = networks(int(density.varies.sum()), len(state["encoder.0.bias"]))
        verify_state(state, {k: v.shape for k, v in density.net.state_dict().items()})
        density.net.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
        return density


def networks(size: int, units: int) -> Any:
    """encoder: (m, D) -> (m, 2 D); decoder: (m, D) -> (m, D); two ReLU layers each."""
    from torch import nn

    def dense(outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(size, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, outputs)
        )

    return nn.ModuleDict({"encoder": dense(2 * size), "decoder": dense(size)})
