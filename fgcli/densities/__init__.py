"""Ex-post densities over codes (Ghosh's thesis, 3.4): fitted after training, they make any autoencoder a sampler.

A density has `fit(codes (n, l, d), seed)`, `sample(n, seed) -> codes`, `log_prob(codes) -> (n,)` in nats,
`arrays()` and `from_arrays(arrays)`. Fits are in float64 on standardised codes: deterministic codes have
near-singular covariances.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgcli import artifacts, config

DENSITIES = {
    "gaussian": "fgcli.densities.gaussian:Gaussian",
    "gmm": "fgcli.densities.gmm:GMM",
    "bayesian_gmm": "fgcli.densities.bayesian_gmm:BayesianGMM",
    "isotropic": "fgcli.densities.isotropic:Isotropic",
    "two_stage_vae": "fgcli.densities.two_stage_vae:TwoStageVAE",
    "flow": "fgcli.densities.flow:Flow",
}


def load(path: Path) -> dict[str, Any]:
    """The fitted densities of density.h5, by their names in params.

    Raises:
        FgError: not a density file.
    """
    stored = artifacts.load(path, artifacts.DENSITY)
    return {
        name: config.lookup(DENSITIES, about["build"]["name"], str(path)).from_arrays(stored.group(f"methods/{name}"))
        for name, about in stored.meta["methods"].items()
    }
