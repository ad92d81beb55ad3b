"""Gaussian mixture by variational inference: behind the numbers that the RAE paper printed under GMM."""

from __future__ import annotations

from typing import Any

from fgcli.config.fields import Count, Positive, Share, Weight
from fgcli.densities.gmm import GMM


class BayesianGMM(GMM):
    """Mixture of full Gaussians whose weights have a Dirichlet process for a prior (Blei and Jordan 2006).

    Components that the codes do not need lose their weight. The posterior's mean mixture is kept.

    Args:
        concentration: of the process: the smaller, the fewer components keep a weight; 1/10 for the printed numbers.
        components: number of Gaussians at most.
        regularize: added to the variances of the standardised codes.
        shrink: how far each covariance is drawn to their weighted mean, as in `GMM`.
        starts: k-means starts, of which the fit of the highest bound is kept; 1 for the printed numbers.
    """

    name = "bayesian_gmm"

    def __init__(
        self,
        concentration: Positive = 0.1,
        components: Count = 10,
        regularize: Weight = 1e-6,
        shrink: Share = 0.0,
        starts: Count = 1,
    ) -> None:
        super().__init__(components, regularize, shrink, starts)
        self.concentration = concentration

    def model(self, seed: int) -> Any:
        """scikit-learn's estimator, not fitted yet; 100 iterations, as for the printed numbers."""
        from sklearn.mixture import BayesianGaussianMixture

        return BayesianGaussianMixture(
            n_components=self.components,
            reg_covar=self.regularize,
            n_init=self.starts,
            max_iter=100,
            weight_concentration_prior=self.concentration,
            random_state=seed % 2**32,
        )
