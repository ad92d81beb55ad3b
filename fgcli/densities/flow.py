"""Normalising flow over codes: a neural spline flow (Durkan et al. 2019), by the library zuko."""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field
from scipy.linalg import solve_triangular

from fgcli.artifacts import verify_arrays, verify_state
from fgcli.config.fields import MOST, Count, CountOrNone, Positive, Weight
from fgcli.densities import Density
from fgcli.densities.gaussian import Gaussian
from fgcli.densities.mixture import standardize
from fgcli.errors import FlawError

BUILD, LARGEST = ("transforms", "bins", "hidden"), 2**14
"""What a file keeps of the arguments, and the greatest that is built from one."""
ROWS = 4096
"""Codes that pass the network at a time: one takes 10 kB of memory."""


class Flow(Density):
    """A Gaussian that splines bend: it starts as the codes' own Gaussian and is stopped by held-out codes.

    The codes are whitened by their Gaussian (solved, not learned), so that correlations and scales cost the flow
    nothing. Both directions of its coupling transforms take one pass, whatever the size of the codes.

    Args:
        transforms: coupling transforms, each of which splits the dimensions at random.
        bins: of each monotonic rational-quadratic spline on [-5, 5].
        hidden: units of the two hidden layers of each transform.
        regularize: variance of the noise that is added to the standardised codes.
        learning_rate: Adam's step size; halved when 3 epochs bring no better held-out likelihood.
        batch: codes per step.
        epochs: over the codes, at most.
    """

    def __init__(
        self,
        transforms: Count = 5,
        bins: Annotated[int, Field(ge=2, lt=MOST)] = 8,
        hidden: Count = 64,
        regularize: Weight = 1e-6,
        learning_rate: Positive = 1e-3,
        batch: Count = 128,
        epochs: CountOrNone = 200,
    ) -> None:
        self.build = {"transforms": transforms, "bins": bins, "hidden": hidden}
        self.regularize, self.learning_rate, self.batch, self.epochs = regularize, learning_rate, batch, epochs

    def fit(self, codes: np.ndarray, seed: int) -> Self:
        """Maximum likelihood of the codes (n, l, d), whitened after noise of variance `regularize`.

        Raises:
            FgError: fewer than 2 codes, codes that do not vary, or a likelihood that is not finite.
        """
        import torch

        from fgcli.densities.descent import descend

        self.gaussian = Gaussian(self.regularize).fit(codes, seed)
        x = standardize(codes)[0]
        factor = torch.from_numpy(self.gaussian.mixture.factors[0])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = spline_flow(x.shape[1], **self.build)  # float32 while it learns: a third faster

        def loss(rows: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
            noisy = rows + self.regularize**0.5 * torch.randn(rows.shape, dtype=rows.dtype, generator=rng)
            white = torch.linalg.solve_triangular(factor, noisy.T, upper=False).T
            return -self.net().log_prob(white.float()).mean()

        descend(
            self.net, loss, x, rate=self.learning_rate, batch=self.batch, epochs=self.epochs, seed=seed, name="flow"
        )
        self.net.double()
        return self

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n codes (n, l, d), float32."""
        import torch

        m = self.gaussian.mixture
        noise = torch.from_numpy(rng.standard_normal((n, m.means.shape[1])))
        with torch.no_grad():
            back = self.net().transform.inv
            white = torch.cat([back(part) for part in noise.split(ROWS)]).numpy()
        return ((white @ m.factors[0].T).reshape(n, *m.center.shape) * m.scale + m.center).astype(np.float32)

    def log_prob(self, codes: np.ndarray) -> np.ndarray:
        """log p (n,) in nats: the flow's at w = L^-1 (z - center) / scale, less log |L| and the log of the scale."""
        import torch

        m = self.gaussian.mixture
        x = ((codes - m.center) / m.scale).reshape(len(codes), -1)
        white = torch.from_numpy(solve_triangular(m.factors[0], x.T, lower=True).T.copy())
        with torch.no_grad():
            net = self.net()
            value = torch.cat([net.log_prob(part) for part in white.split(ROWS)]).numpy()
        return value - np.log(np.diag(m.factors[0])).sum() - np.log(m.scale).sum()

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps."""
        parts = {"build": self.build, "gaussian": self.gaussian.arrays(), "net": self.net.state_dict()}
        return {f"{part}/{k}": np.asarray(v) for part, values in parts.items() for k, v in values.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """The density that `arrays` gave; raises FlawError where they are none's."""
        import torch

        verify_arrays(arrays, {f"build/{name}": "" for name in BUILD})
        build = {name: int(arrays[f"build/{name}"]) for name in BUILD}
        if min(build.values()) < 1 or build["bins"] < 2 or max(build.values()) > LARGEST:
            raise FlawError(f"expected a build of 1 to {LARGEST}, bins of 2 at least, found {build}")
        parts: dict[str, dict[str, np.ndarray]] = {"gaussian": {}, "net": {}}
        for name, value in arrays.items():
            part, _, key = name.partition("/")
            parts.get(part, {})[key] = value
        density = cls(**build)
        density.gaussian = Gaussian.from_arrays(parts["gaussian"])
        density.net = spline_flow(density.gaussian.mixture.means.shape[1], **density.build).double()
        verify_state(parts["net"], {k: v.shape for k, v in density.net.state_dict().items()})
        density.net.load_state_dict({k: torch.from_numpy(v) for k, v in parts["net"].items()})
        return density


def spline_flow(features: int, transforms: int, bins: int, hidden: int) -> Any:
    """zuko's flow; what its splines are made of starts at zero, so that it starts as N(0, I)."""
    from torch import nn
    from zuko.flows import NSF

    flow = NSF(features, bins=bins, transforms=transforms, passes=2, randperm=True, hidden_features=(hidden, hidden))
    for transform in flow.transform.transforms:
        last = transform.hyper[-1].parameters() if features > 1 else transform.parameters()
        for parameter in last:
            nn.init.zeros_(parameter)
    return flow
