"""Regularised autoencoders (Ghosh, *Reining in the Deep Generative Models*, section 3.5): L_REC + beta L_Z + lambda
L_REG, and with terms left out the plain autoencoder (AE), AE-L2 and the combinations of Table A.3. Spectral
normalisation (RAE-SN) is the network's: `spectral` of conv_autoencoder."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from fgcli.capabilities import Halves, Posterior, Writes
from fgcli.config.fields import Weight
from fgcli.objectives.jacobian import MODES, still_statistics
from fgcli.objectives.reconstruction import errors, outputs
from fgcli.training.objective import Batch, Group, Objective, Phase, Terms


class RAE(Objective):
    """Squared error, size of the codes, and what keeps the decoder smooth. A weight of 0 drops its term.

    Images compare in [0, 1]. With reduction "mean", as in the released code, the error is a mean over pixels and
    channels, the codes' term the mean of z^2, and the gradient penalty is per output value; with "sum", as in the
    thesis, they are |x - y|^2, |z|^2 / 2 and ||J||_F^2 (Eq. 3.8, 3.11). Then all are means over the batch. Of sentences
    the error is the cross-entropy, a mean or a sum over steps, and D their logits.

    Args:
        generator: deterministic: an encoder and a decoder, without a posterior.
        beta: weight of the codes' size.
        gp: weight of the gradient penalty ||dD/dz||_F^2; see gp_mode.
        gp_mode: "hutchinson", "finite_difference" (the quickest) and "exact" are of the same mean; "reference" is
            the released code's other quantity. With it the decoder computes in float32 whatever the precision.
        l2: weight of the sum of squares of the decoder's transposed convolutions' kernels, or recurrent weights.
        l2_dense: count its dense layer's weights, too, as the released code does for CelebA.
        reduction: "mean" or "sum".

    Raises:
        ValueError: a generator that is not deterministic.
    """

    network: Halves
    takes = (Writes,)

    def __init__(
        self,
        generator: Halves,
        beta: Weight = 1e-4,
        gp: Weight = 0.0,
        gp_mode: Literal["hutchinson", "finite_difference", "exact", "reference"] = "finite_difference",
        l2: Weight = 0.0,
        l2_dense: bool = False,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        weights = {"reconstruction": 1.0, "codes": beta, "gradient": gp, "l2": l2}
        super().__init__(generator, (Halves,), (Posterior,))
        self.mean, self.penalty = reduction == "mean", MODES[gp_mode]
        self.per_value = self.mean and gp_mode != "reference"
        kinds = (nn.ConvTranspose2d, nn.RNNBase, *((nn.Linear,) if l2_dense else ()))
        self.kernels = kernels(generator.decoder, kinds) if l2 else []
        self.groups = {"rae": Group(list(generator.parameters()))}
        self.phases = [Phase("rae", "rae", self.loss, {k: v for k, v in weights.items() if v})]

    def loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """The terms of one batch, unweighted."""
        x, weights = batch["images"], self.phases[0].weights
        z = self.network.encode(x).float()
        # Cached, both decodes of a finite difference have the same spectrally normalised weights.
        with cached(), torch.autocast(x.device.type, enabled=False) if "gradient" in weights else nullcontext():
            return self.terms((x.float() + 1) / 2, z, rng)  # under bf16 finite differences are rounding noise

    def terms(self, x: Tensor, z: Tensor, rng: torch.Generator) -> Terms:
        """The terms of images (n, c, h, w) in [0, 1], or planes of sentences, and their codes (n, 1, d)."""
        weights = self.phases[0].weights
        with torch.set_grad_enabled(torch.is_grad_enabled() or "gradient" in weights):
            z = z if z.requires_grad else z.requires_grad_()
            decode = partial(self.decode, x=x)
            y = decode(z)
            terms = {"reconstruction": self.reduce(errors(self.network, x, y))}
            if "gradient" in weights:
                with still_statistics(self.network):
                    values = self.penalty(decode, z, y, rng)
                terms["gradient"] = values.mean() / (x[0].numel() if self.per_value else 1)
        if "codes" in weights:
            terms["codes"] = z.square().mean() if self.mean else 0.5 * z.square().sum((1, 2)).mean()
        if "l2" in weights:
            terms["l2"] = torch.stack([kernel.square().sum() for kernel in self.kernels]).sum()
        return terms

    def decode(self, z: Tensor, x: Tensor) -> Tensor:
        """Images in [0, 1], or logits of sentences `x`."""
        return outputs(self.network, z, x)

    def reduce(self, found: Tensor) -> Tensor:
        """Errors over pixels and channels, or steps, by the reduction, then the mean over the batch."""
        return found.mean() if self.mean else found.sum((1, 2, 3)).mean()


def kernels(network: nn.Module, kinds: Any) -> list[Tensor]:
    """The weights, without biases, of a network's layers of these kinds; before any spectral normalisation."""
    layers = [module for module in network.modules() if isinstance(module, kinds)]
    return [p for layer in layers for p in layer.parameters() if p.ndim > 1]
