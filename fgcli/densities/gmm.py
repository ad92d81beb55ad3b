"""Gaussian mixture by expectation maximisation: the thesis's ex-post density (10 full components)."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np

from fgcli.config.fields import Count, Share, Weight
from fgcli.densities.gaussian import RAISE, Gaussian
from fgcli.densities.mixture import Mixture, standardize
from fgcli.errors import FgError


class GMM(Gaussian):
    """Mixture of Gaussians of full covariance.

    Args:
        components: number of Gaussians; 10 in Ghosh's thesis.
        regularize: added to the variances of the standardised codes.
        shrink: how far each covariance is drawn to their weighted mean (Friedman 1989, "Regularized Discriminant
            Analysis"): 0 for the thesis's mixture; towards 1 where components have fewer codes than dimensions.
        starts: k-means starts, of which the likeliest fit is kept; local optima matter more than anything else.
    """

    name = "gmm"

    def __init__(
        self, components: Count = 10, regularize: Weight = 1e-6, shrink: Share = 0.0, starts: Count = 3
    ) -> None:
        super().__init__(regularize)
        self.components, self.shrink, self.starts = components, shrink, starts

    def model(self, seed: int) -> Any:
        """scikit-learn's estimator, not fitted yet."""
        from sklearn.mixture import GaussianMixture

        return GaussianMixture(
            self.components, reg_covar=self.regularize, n_init=self.starts, max_iter=500, random_state=seed % 2**32
        )

    def fit(self, codes: np.ndarray, seed: int) -> Self:
        """Expectation maximisation from k-means.

        Raises:
            FgError: fewer codes than components, or a component without volume.
        """
        from sklearn.exceptions import ConvergenceWarning

        x, center, scale = standardize(codes)
        if len(x) < self.components:
            raise FgError(
                f"{self.name}: expected at least {self.components} codes, found {len(x)}; lower density components"
            )
        model = self.model(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                model.fit(x)
                mean = np.einsum("k,kij->ij", model.weights_, model.covariances_)
                factors = np.linalg.cholesky((1 - self.shrink) * model.covariances_ + self.shrink * mean)
            except ValueError as error:  # LinAlgError is one
                told = f"{self.name}: expected components of full rank, found a singular one; {RAISE}"
                raise FgError(told) from error
        self.mixture = Mixture(model.weights_, model.means_, factors, center, scale)
        return self
